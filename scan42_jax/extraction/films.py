"""The films whose features are wanted: a folder's files or a prepared dataset.

Both are sequences that open one film at a time, so their length costs no more
than their names.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import itertools
import pathlib
from typing import Protocol

import numpy as np

from scan42_jax.data import finished, images
from scan42_jax.data.sources import open_films
from scan42_jax.datasets import base, reading
from scan42_jax.datasets.film_files import find_films
from scan42_jax.datasets.reading import Options


@dataclasses.dataclass(frozen=True)
class KnownFilm:
  """A film and what is known of it; texts are '' where unknown.

  Attributes:
    pixels: uint8 [H, W], bones bright.
    image_id: unique in its source.
    patient_id: hashed.
    split: 'train', 'validation' or 'test'.
    view: 'PA', 'AP', 'LATERAL', ...
  """

  pixels: np.ndarray
  image_id: str
  patient_id: str
  split: str
  view: str


class Films(Protocol):
  """Films by number.

  Attributes:
    equalized: the stored films are histogram-equalised.
    digest: changes when a film does.
  """

  equalized: bool
  digest: str

  def __len__(self) -> int: ...

  def name(self, index: int) -> str:
    """Returns what a message calls a film."""

  def read(self, index: int) -> KnownFilm:
    """Opens a film.

    Raises:
      RejectedFilm: it is damaged or no radiograph.
    """


def find_source(source: pathlib.Path, *, id_salt: str = "") -> Films:
  """Opens the folder of a prepared dataset, or any tree of films.

  Args:
    source: `DATA_DIR/NAME` of a prepared dataset, or a folder of DICOM, PNG
      and JPEG.
    id_salt: secret that the patient ids of DICOM headers are hashed with; as
      in preparation.

  Raises:
    FileNotFoundError: no such folder, or no films in it.
    ValueError: it is part of a prepared dataset.
  """
  if not source.is_dir():
    raise FileNotFoundError(f"source {source}: no such folder")
  source = source.resolve()
  if (source / finished.MANIFEST).is_file():
    raise ValueError(
      f"source {source} is one version of a prepared dataset; give"
      f" {source.parent}, whose newest version is taken"
    )
  if any(source.glob(f"[0-9]*/{finished.MANIFEST}")):
    return PreparedFilms(source)
  return FolderFilms(source, id_salt=id_salt)


class FolderFilms:
  """Every DICOM, PNG and JPEG below a folder, named by its path in it.

  All views are taken. Patient ids of DICOM headers are hashed as in
  preparation; films that say that text is drawn into them are refused.
  """

  equalized = False

  def __init__(self, source: pathlib.Path, *, id_salt: str):
    self._source = source
    self._options = Options(source=source, id_salt=id_salt, all_views=True)
    self._files = list(find_films(source))
    if not self._files:
      raise FileNotFoundError(
        f"source {source} holds no DICOM, PNG or JPEG file"
      )
    self.digest = self._digest()

  def __len__(self) -> int:
    return len(self._files)

  def name(self, index: int) -> str:
    """Returns the file's path in the folder."""
    return self._files[index]

  def read(self, index: int) -> KnownFilm:
    """Opens a file."""
    film = images.read_film(self._source / self._files[index])
    refused = reading.refuse(film.view, self._options, burned_in=film.burned_in)
    if refused:
      raise images.RejectedFilm(refused, kind="skipped")
    return KnownFilm(
      pixels=film.pixels,
      image_id=self._files[index],
      patient_id=reading.stored_id(film.patient_id, self._options),
      split="",
      view=film.view,
    )

  def _digest(self) -> str:
    digest = hashlib.sha256(repr(self._options.id_salt).encode())
    for file in self._files:
      stat = (self._source / file).stat()
      known = (file, stat.st_size, stat.st_mtime_ns)
      digest.update(repr(known).encode())
    return digest.hexdigest()


class PreparedFilms:
  """All splits of a prepared dataset, one after the other."""

  def __init__(self, folder: pathlib.Path):
    versions = folder.glob(f"[0-9]*/{finished.MANIFEST}")
    newest = max((path.parent for path in versions), key=_version)
    counts = finished.read_manifest(newest)["films"]
    self._sources = [
      open_films(folder.parent, folder.name, split)
      for split in base.SPLITS
      if counts[split]
    ]
    self._ends = list(itertools.accumulate(map(len, self._sources)))
    self.equalized = self._sources[0].equalized
    self.digest = self._sources[0].manifest_sha256

  def __len__(self) -> int:
    return self._ends[-1]

  def name(self, index: int) -> str:
    """Returns dataset, split and position."""
    source, position = self._place(index)
    return f"{source.name} {source.split} {position}"

  def read(self, index: int) -> KnownFilm:
    """Decodes a stored film."""
    source, position = self._place(index)
    example = source[position]
    return KnownFilm(
      pixels=images.decode_film(example["image"]),
      image_id=example["image_id"],
      patient_id=example["patient_id"],
      split=source.split,
      view=example["view"],
    )

  def _place(self, index):
    number = bisect.bisect_right(self._ends, index)
    first = self._ends[number - 1] if number else 0
    return self._sources[number], index - first


def _version(folder: pathlib.Path) -> tuple[int, ...]:
  return tuple(map(int, folder.name.split(".")))
