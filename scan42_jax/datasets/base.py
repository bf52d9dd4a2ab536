"""The TFDS builder that every dataset shares: rows in, shards out.

A dataset says which labels it has and lists its rows; reading files, choosing
views, splitting by patient, hiding ids and writing shards is the same for all.
"""

import abc
import contextlib
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder

from scan42_jax.datasets import labels, listing, reading, shards
from scan42_jax.datasets.reading import Options, Reading, Row

SPLITS = ("train", "validation", "test")

TEXTS = ("report", "findings", "impression", "indication")
"""What is stored of a report: all of it, and its sections."""

Example = shards.Example


def film_features(num_labels: int) -> tfds.features.FeaturesDict:
  """Features of one film; the same for every dataset.

  `masks` holds empty bytes where a film has none; `age_years` is NaN and texts
  are '' where unknown; `labels` holds the codes of labels.py. `boxes` holds
  left, top, width and height as shares of the film's width and height, and
  `box_labels` the index of each box's label.
  """

  def picture(encoding: str) -> tfds.features.Image:
    return tfds.features.Image(
      shape=(None, None, 1), dtype=np.uint8, encoding_format=encoding
    )

  return tfds.features.FeaturesDict(
    {
      "image": picture("jpeg"),
      "masks": {name: picture("png") for name in reading.MASK_NAMES},
      "image_id": tfds.features.Text(),
      "patient_id": tfds.features.Text(),
      "view": tfds.features.Text(),
      "sex": tfds.features.Text(),
      "age_years": np.float32,
      "labels": tfds.features.Tensor(shape=(num_labels,), dtype=np.int8),
      "boxes": tfds.features.Tensor(shape=(None, 4), dtype=np.float32),
      "box_labels": tfds.features.Tensor(shape=(None,), dtype=np.int16),
      **{name: tfds.features.Text() for name in TEXTS},
    }
  )


class FilmDataset(dataset_builder.FileReaderBuilder, listing.FilmList):
  """Base of all datasets; a subclass defines `label_names`, `listed_rows`.

  Attributes:
    VERSION: raise it when the same files give other examples.
    NAMES_PEOPLE: ids of the rows may name people and are hashed.
    MAKES_SOURCE: the dataset makes its own raw films, in the source folder.
    HASHED_SPLITS: splits that patients are drawn for by hash, besides training,
      where a row names no split of its own.
    load: opens the files of a row; a module-level function, since worker
      processes call it.
  """

  VERSION = tfds.core.Version("1.1.0")
  NAMES_PEOPLE = False
  MAKES_SOURCE = False
  HASHED_SPLITS: ClassVar[tuple[str, ...]] = ("test", "validation")
  # Nothing is downloaded; TFDS's own look-up of download checksums needs the
  # package importlib_resources, which it does not declare.
  url_infos: ClassVar[dict] = {}
  load: reading.Loader = staticmethod(reading.load_files)

  def __init__(self, options: Options, *, data_dir: str):
    listing.FilmList.__init__(self, options)
    self.name = stored_name(type(self).name, options)
    self._label_names = self.label_names()
    self._to_write: Mapping[str, Sequence[shards.Film]] = {}
    super().__init__(data_dir=data_dir, file_format="array_record")

  @abc.abstractmethod
  def label_names(self) -> tuple[str, ...]:
    """Names of the labels, in the order of `Row.labels`."""

  def fingerprint(self, row: Row) -> str:
    """Identifies what a row's files and the options make of them.

    Raises:
      FileNotFoundError: a file of the row does not exist.
    """
    paths = [self.options.source / row.file]
    paths += [self.options.source / file for file in row.masks.values()]
    stats = [path.stat() for path in paths]
    files = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    # View and skip take part because they decide whether the film is kept.
    known = (str(self.VERSION), row.view, row.skip)
    known += (files, self._reading_options())
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]

  def split(self, row: Row, found: Reading) -> str:
    """Returns the split of a film: the release's own, or by patient hash."""
    if row.split:
      return row.split
    ids = self.ids(row, found)
    place = _uniform(f"{self.options.split_seed}:{ids[1] or ids[0]}")
    share = self.options.holdout_percent / 100
    for number, split in enumerate(self.HASHED_SPLITS, start=1):
      if place < number * share:
        return split
    return "train"

  def ids(self, row: Row, found: Reading) -> tuple[str, str]:
    """Returns the image id and the patient id that are stored."""
    ids = (row.image_id or row.file, row.patient_id)
    if self.hashes_ids:
      ids = tuple(reading.stored_id(text, self.options) for text in ids)
    return ids[0], ids[1] or found.patient_id

  @property
  def hashes_ids(self) -> bool:
    """Whether ids of the rows are stored as hashes."""
    asked = self.NAMES_PEOPLE or self.options.hash_ids
    return asked and not self.options.keep_ids

  def patients_of(self) -> str:
    """Names the dataset whose patient ids these are, to compare them."""
    return type(self).name

  def example(self, row: Row, found: Reading) -> Example:
    """Puts together what the tables and the file say; tables go first."""
    image_id, patient_id = self.ids(row, found)
    age = found.age_years if math.isnan(row.age_years) else row.age_years
    values = row.labels or (labels.MISSING,) * len(self._label_names)
    return {
      "image": found.image,
      "masks": {
        name: found.masks.get(name, b"") for name in reading.MASK_NAMES
      },
      "image_id": image_id,
      "patient_id": patient_id,
      "view": row.view or found.view,
      "sex": row.sex or found.sex,
      "age_years": age,
      "labels": np.array(values, np.int8),
      "boxes": np.array(
        [(b.left, b.top, b.width, b.height) for b in row.boxes], np.float32
      ).reshape(-1, 4),
      "box_labels": np.array([box.label for box in row.boxes], np.int16),
      **self.texts(row),
    }

  def texts(self, row: Row) -> dict[str, str]:
    """Returns the texts of TEXTS; they may come from a file of their own."""
    return {name: getattr(row, name) for name in TEXTS}

  def write(self, films: Mapping[str, Sequence[shards.Film]]) -> None:
    """Writes the shards.

    Args:
      films: those of each split that is not empty, in any order.
    """
    self._to_write = films
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
      self.download_and_prepare()

  def _info(self) -> tfds.core.DatasetInfo:
    metadata = {
      "label_names": list(self._label_names),
      "equalized": self.options.published,
      "short_side_px": self.options.short_side_px,
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description=" ".join((type(self).__doc__ or "").split()),
      features=film_features(len(self._label_names)),
      metadata=tfds.core.MetadataDict(metadata),
    )

  def _download_and_prepare(self, dl_manager, download_config):
    """Called by TFDS, which knows where the shards go; nothing is loaded."""
    del dl_manager, download_config
    splits = [
      shards.write_split(
        films,
        features=self.info.features,
        template=self._get_filename_template(split),
      )
      for split, films in self._to_write.items()
    ]
    self.info.set_splits(tfds.core.splits.SplitDict(splits))

  def _reading_options(self):
    """The options that change what is read from a file."""
    every = dataclasses.asdict(self.options)
    names = ("published", "short_side_px", "all_views", "keep_burned_in")
    salt = "" if self.options.keep_ids else self.options.id_salt
    ids = hashlib.sha256(salt.encode()).hexdigest()
    return [every[name] for name in names] + [self.options.keep_ids, ids]


def stored_name(dataset: str, options: Options) -> str:
  """Returns the name under which a dataset is stored."""
  name = options.name or dataset
  return f"{name}_published" if options.published else name


def _uniform(text: str) -> float:
  """Maps a text to [0, 1), evenly and for ever the same."""
  digest = hashlib.sha256(text.encode()).digest()
  return int.from_bytes(digest[:8], "big") / 2**64
