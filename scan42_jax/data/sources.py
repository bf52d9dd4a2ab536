"""Opens a prepared split as a sequence of examples; decodes no picture.

What can be wrong with shards is found here and said in one line: a dataset or
split that is absent, a shard that is missing, cut or damaged.
"""

import bisect
import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from scan42_jax import datasets
from scan42_jax.data import exclusions, finished


class FilmSource(Sequence):
  """One split of one prepared dataset.

  An example is a dict: `image` (grey JPEG), `masks` (name -> PNG of the film's
  original size, b'' if absent), `labels` (codes of datasets/labels.py), the
  texts `image_id`, `patient_id`, `view`, `sex`, `report` ('' if unknown) and
  `age_years` (NaN if unknown). Pickles as its address, so a worker process
  opens its own.

  Attributes:
    name: name of the dataset.
    split: 'train', 'validation' or 'test'.
    label_names: name of each label.
    equalized: the stored films are histogram-equalised.
    manifest_sha256: SHA-256 of the manifest, to name the data in results.
    num_excluded: films that the exclusion lists leave out.
  """

  def __init__(
    self,
    data_dir: pathlib.Path,
    name: str,
    split: str,
    excluded_by: tuple[str, ...] = (),
  ):
    self._address = (data_dir, name, split, excluded_by)
    folder = dataset_folder(data_dir, name)
    manifest = finished.read_manifest(folder)
    command = _prepare_command(data_dir, name)
    _check_split(manifest, split)
    _check_shards(folder, manifest, split=split, command=command)
    builder = tfds.builder_from_directory(str(folder))
    self.name, self.split = name, split
    self.label_names = tuple(builder.info.metadata["label_names"])
    self.equalized = bool(builder.info.metadata["equalized"])
    self.manifest_sha256 = finished.file_sha256(folder / finished.MANIFEST)
    self._command = command
    self._info = builder.info.splits[split]
    self._ends = list(itertools.accumulate(self._info.shard_lengths))
    excluded = exclusions.excluded_positions(
      data_dir, excluded_by, self.edition
    )
    self._kept = np.delete(np.arange(self._ends[-1]), excluded)
    self.num_excluded = len(excluded)
    skip = tfds.decode.SkipDecoding()
    masks = {name: skip for name in builder.info.features["masks"]}
    self._records = builder.as_data_source(
      split, decoders={"image": skip, "masks": masks}
    )

  @property
  def edition(self) -> exclusions.Edition:
    """What names this split, as it was prepared."""
    return exclusions.Edition(
      dataset=self.name,
      split=self.split,
      manifest_sha256=self.manifest_sha256,
    )

  def facts(self) -> dict[str, Any]:
    """Says in plain JSON which films these are."""
    return {
      **dataclasses.asdict(self.edition),
      "films": len(self),
      "excluded": self.num_excluded,
      "excluded_by": list(self._address[-1]),
    }

  def __len__(self) -> int:
    return len(self._kept)

  def __getitem__(self, index: int) -> dict[str, Any]:
    if not 0 <= index < len(self):
      raise IndexError(index)
    index = int(self._kept[index])
    try:
      example = self._records[index]
      if not example["image"]:  # So a shard reads that was cut meanwhile.
        raise EOFError
    # ArrayRecord tells damage by several unrelated exceptions.
    except Exception as error:
      shard = self._info.filepaths[bisect.bisect_right(self._ends, index)]
      raise ValueError(
        f"shard {shard} is damaged ({type(error).__name__}); "
        f"run {self._command}"
      ) from None
    return {
      key: value.decode()
      if isinstance(value, bytes) and key != "image"
      else value
      for key, value in example.items()
    }

  def __reduce__(self):
    return FilmSource, self._address


def open_films(
  data_dir: str | pathlib.Path,
  name: str,
  split: str,
  *,
  excluded_by: Sequence[str] = (),
) -> FilmSource:
  """Opens one split of a prepared dataset.

  Args:
    data_dir: folder of the prepared datasets.
    name: of the dataset.
    split: of the dataset.
    excluded_by: names of the lists of films to leave out, see exclusions.py.

  Raises:
    FileNotFoundError: the dataset, a shard or a list is absent; names the
      command that makes it.
    ValueError: there is no such split, a shard is truncated, or a list is of
      other shards.
  """
  data_dir = pathlib.Path(data_dir).expanduser()
  return FilmSource(data_dir, name, split, tuple(excluded_by))


def dataset_names(data_dir: str | pathlib.Path) -> list[str]:
  """Returns the names of the prepared datasets, sorted.

  Raises:
    FileNotFoundError: there is none.
  """
  data_dir = pathlib.Path(data_dir).expanduser()
  manifests = data_dir.glob(f"*/[0-9]*/{finished.MANIFEST}")
  names = sorted({manifest.parents[1].name for manifest in manifests})
  if not names:
    raise FileNotFoundError(f"no prepared dataset in {data_dir}")
  return names


def dataset_folder(data_dir: pathlib.Path, name: str) -> pathlib.Path:
  """Returns the newest version of a dataset.

  Raises:
    FileNotFoundError: there is none; names the command that makes it.
  """
  manifests = list((data_dir / name).glob(f"[0-9]*/{finished.MANIFEST}"))
  if not manifests:
    raise FileNotFoundError(
      f"no dataset {name!r} in {data_dir}; make it with "
      f"{_prepare_command(data_dir, name)}"
    )
  return max(
    (manifest.parent for manifest in manifests),
    key=lambda folder: tfds.core.Version(folder.name),
  )


def _prepare_command(data_dir, name):
  raw_name = name.removesuffix("_published")
  published = "" if raw_name == name else " --published"
  named = f"--dataset={raw_name}"
  if raw_name not in datasets.CLASSES:
    named = f"--dataset=folder --name={raw_name}"
  return (
    f"python -m scan42_jax.data.prepare {named}{published} "
    f"--source=DIR --data_dir={data_dir}"
  )


def _check_split(manifest, split):
  splits = [name for name, count in manifest["films"].items() if count]
  if split not in splits:
    raise ValueError(
      f"dataset {manifest['name']} has no split {split!r}; it has "
      f"{', '.join(splits)}"
    )


def _check_shards(folder, manifest, *, split, command):
  for shard, facts in manifest["shards"].items():
    if f"-{split}." not in shard:
      continue
    path = folder / shard
    if not path.is_file():
      raise FileNotFoundError(f"shard {path} is missing; run {command}")
    if path.stat().st_size != facts["bytes"]:
      raise ValueError(
        f"shard {path} has {path.stat().st_size} bytes instead of "
        f"{facts['bytes']}; run {command}"
      )
