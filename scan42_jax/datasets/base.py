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
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from scan42_jax.datasets import labels, reading
from scan42_jax.datasets.reading import Options, Reading, Row

SPLITS = ("train", "validation", "test")

Example = dict[str, Any]


def film_features(num_labels: int) -> tfds.features.FeaturesDict:
  """Features of one film; the same for every dataset.

  `masks` holds empty bytes where a film has none; `age_years` is NaN and texts
  are '' where unknown; `labels` holds the codes of labels.py.
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
      "report": tfds.features.Text(),
    }
  )


class FilmDataset(tfds.core.GeneratorBasedBuilder):
  """Base of all datasets; a subclass defines `label_names` and `rows`.

  Attributes:
    VERSION: raise it when the same files give other examples.
    NAMES_PEOPLE: ids of the rows may name people and are hashed.
    MAKES_SOURCE: the dataset makes its own raw films, in the source folder.
    load: opens the files of a row; a module-level function, since worker
      processes call it.
  """

  VERSION = tfds.core.Version("1.0.0")
  NAMES_PEOPLE = False
  MAKES_SOURCE = False
  # Nothing is downloaded; TFDS's own look-up of download checksums needs the
  # package importlib_resources, which it does not declare.
  url_infos: ClassVar[dict] = {}
  load: reading.Loader = staticmethod(reading.load_files)

  def __init__(self, options: Options, *, data_dir: str):
    self.options = options
    self.name = stored_name(type(self).name, options)
    self._label_names = self.label_names()
    self._examples: Mapping[str, Callable[[], Iterable[Example]]] = {}
    super().__init__(data_dir=data_dir, file_format="array_record")

  @abc.abstractmethod
  def label_names(self) -> tuple[str, ...]:
    """Names of the labels, in the order of `Row.labels`."""

  @abc.abstractmethod
  def rows(self) -> Iterator[Row]:
    """Lists the films of the release, opening none of them.

    Raises:
      ValueError, FileNotFoundError: one line about what the source lacks.
    """

  def fingerprint(self, row: Row) -> str:
    """Identifies what a row's files and the options make of them.

    Raises:
      FileNotFoundError: a file of the row does not exist.
    """
    paths = [self.options.source / row.file]
    paths += [self.options.source / file for file in row.masks.values()]
    stats = [path.stat() for path in paths]
    files = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    # The row's view takes part because it decides whether the film is kept.
    known = (str(self.VERSION), row.view, files, self._reading_options())
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]

  def split(self, row: Row, found: Reading) -> str:
    """Returns the split of a film: the release's own, or by patient hash."""
    if row.split:
      return row.split
    ids = self.ids(row, found)
    place = _uniform(f"{self.options.split_seed}:{ids[1] or ids[0]}")
    share = self.options.holdout_percent / 100
    if place < share:
      return "test"
    return "validation" if place < 2 * share else "train"

  def ids(self, row: Row, found: Reading) -> tuple[str, str]:
    """Returns the image id and the patient id that are stored."""
    ids = (row.image_id or row.file, row.patient_id)
    if self.NAMES_PEOPLE:
      ids = tuple(reading.stored_id(text, self.options) for text in ids)
    return ids[0], ids[1] or found.patient_id

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
      "report": row.report,
    }

  def write(
    self, examples: Mapping[str, Callable[[], Iterable[Example]]]
  ) -> None:
    """Writes the shards.

    Args:
      examples: for each split that is not empty, a function that yields its
        examples. Their order does not matter: TFDS sorts by a hash of the id.
    """
    self._examples = examples
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

  def _split_generators(self, download_manager):
    del download_manager  # Nothing is ever downloaded.
    return {split: self._generate_examples(split) for split in self._examples}

  def _generate_examples(self, split):
    for example in self._examples[split]():
      yield example["image_id"], example

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


def check_rows(rows: Iterable[Row], num_labels: int) -> None:
  """Stops on rows that contradict each other, before any file is opened.

  Raises:
    ValueError: a file is listed twice, a row has another number of labels, a
      split is unknown, or a patient is in two splits.
  """
  files: dict[str, str] = {}
  patients: dict[str, tuple[str, str]] = {}
  for row in rows:
    if row.file in files:
      raise ValueError(
        f"{row.file} is listed twice: {files[row.file]} and {row.where}"
      )
    files[row.file] = row.where
    if row.split and row.split not in SPLITS:
      raise ValueError(f"{row.where}: split {row.split!r} is not in {SPLITS}")
    if len(row.labels) not in (0, num_labels):
      raise ValueError(
        f"{row.where}: {len(row.labels)} labels instead of {num_labels}"
      )
    if row.split and row.patient_id:
      _check_patient(patients, row.patient_id, (row.split, row.where))


def check_films(films: Iterable[tuple[str, str, str, str]]) -> None:
  """Stops on films that contradict each other, now that headers are known.

  Args:
    films: image id, patient id or '', split, place for the message.

  Raises:
    ValueError: an image id occurs twice, or a patient is in two splits.
  """
  images: dict[str, str] = {}
  patients: dict[str, tuple[str, str]] = {}
  for image_id, patient_id, split, where in films:
    if image_id in images:
      raise ValueError(f"{images[image_id]} and {where} have one image id")
    images[image_id] = where
    if patient_id:
      _check_patient(patients, patient_id, (split, where))


def _check_patient(patients, patient_id, here):
  split, where = here
  before, place = patients.setdefault(patient_id, here)
  if before != split:
    raise ValueError(
      f"one patient is in two splits: {place} is in {before}, {where} in "
      f"{split}; split by patient"
    )


def _uniform(text: str) -> float:
  """Maps a text to [0, 1), evenly and for ever the same."""
  digest = hashlib.sha256(text.encode()).digest()
  return int.from_bytes(digest[:8], "big") / 2**64
