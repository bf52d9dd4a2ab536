"""Files of the phantom films, as a release would hold them: DICOM, PNG masks.

Photometric interpretation, depth and window vary from film to film, so that
reading phantoms back takes the same turns as reading a hospital's films.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
from collections.abc import Mapping

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
  DigitalXRayImageStorageForPresentation,
  ExplicitVRLittleEndian,
)

from scan42_jax.data.images import Film, encode_mask
from scan42_jax.datasets import reading
from scan42_jax.datasets.phantom_film import PhantomFilm, render
from scan42_jax.datasets.reading import Options, Row
from scan42_jax.types import Bool

SEED = 0
"""Names the set of films that is the dataset."""

SIZE_PX = 160
"""Largest side of a film of the dataset."""

_STORAGE = 1000  # Stream of the file formats, apart from those of the films.
_UID_ROOT = "2.25."  # UIDs made of a number, which nobody has to register.


@dataclasses.dataclass(frozen=True)
class Storage:
  """How the grey levels of one film are stored.

  Attributes:
    photometric: "MONOCHROME1" (low values bright) or "MONOCHROME2".
    bits: stored bits of a pixel, 8 to 16.
    low: smallest stored value of the film's range.
    high: largest stored value of the film's range.
    has_window: whether a window names that range; else nothing does.
  """

  photometric: str
  bits: int
  low: int
  high: int
  has_window: bool


def sample_storage(rng: np.random.Generator) -> Storage:
  """Draws how a film is stored."""
  bits = int(rng.choice([8, 10, 12, 14, 16]))
  top = 2**bits - 1
  return Storage(
    photometric=str(rng.choice(["MONOCHROME1", "MONOCHROME2"], p=[0.3, 0.7])),
    bits=bits,
    low=int(rng.uniform(0.0, 0.1) * top),
    high=int(rng.uniform(0.7, 1.0) * top),
    has_window=bool(rng.random() < 0.5),
  )


def load_or_draw(
  row: Row, options: Options
) -> tuple[Film, Mapping[str, bytes]]:
  """Reads the files of a row, drawing them first where they are not there.

  Args:
    row: of the phantom dataset; its image id is the number of the film.
    options: name the source folder.

  Returns:
    The film and its masks, see `reading.load_files`.

  Raises:
    RejectedFilm: a file in the source folder is damaged; delete it.
  """
  files = (row.file, *row.masks.values())
  if not all((options.source / file).is_file() for file in files):
    number = int(row.image_id)
    film = render(SEED, number, size_px=SIZE_PX)
    path = options.source / row.file
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, file in row.masks.items():
      write_mask(options.source / file, getattr(film, name))
    rng = np.random.default_rng([SEED, _STORAGE, number])
    write_dicom(path, film, rng=rng)
  return reading.load_files(row, options)


def write_dicom(
  path: pathlib.Path, film: PhantomFilm, *, rng: np.random.Generator
) -> Storage:
  """Writes a film.

  Args:
    path: of the file; its folder must exist.
    film: what to write.
    rng: draws how it is stored.

  Returns:
    How the film was stored.
  """
  storage = sample_storage(rng)
  meta = FileMetaDataset()
  meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
  meta.MediaStorageSOPInstanceUID = _uid(rng)
  meta.TransferSyntaxUID = ExplicitVRLittleEndian
  dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
  dataset.SOPClassUID = meta.MediaStorageSOPClassUID
  dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
  dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(rng), _uid(rng)
  _describe(dataset, film)
  _store(dataset, film, storage)
  stream = io.BytesIO()
  pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
  _write_whole(path, stream.getvalue())
  return storage


def write_mask(path: pathlib.Path, mask: Bool[np.ndarray, "H W"]) -> None:
  """Writes a mask as grey PNG of 0 and 255."""
  _write_whole(path, encode_mask(mask))


def _write_whole(path: pathlib.Path, data: bytes) -> None:
  """Writes a file that is there whole or not at all, whatever happens."""
  beside = path.with_name(f"{path.name}.tmp")
  beside.write_bytes(data)
  beside.replace(path)


def _uid(rng: np.random.Generator) -> str:
  return _UID_ROOT + str(int(rng.integers(1, 2**62)))


def _describe(dataset: FileDataset, film: PhantomFilm) -> None:
  dataset.Modality = "DX"
  dataset.PresentationIntentType = "FOR PRESENTATION"
  dataset.BodyPartExamined = "CHEST"
  dataset.ViewPosition = "LL" if film.view == "LATERAL" else film.view
  dataset.PatientName = "Phantom^Film"
  dataset.PatientID = film.patient_id
  dataset.PatientSex = film.sex
  dataset.PatientAge = f"{film.age:03d}Y"
  dataset.BurnedInAnnotation = "NO"


def _store(dataset: FileDataset, film: PhantomFilm, storage: Storage) -> None:
  levels = film.pixels.astype(np.float64) / 65535
  if storage.photometric == "MONOCHROME1":
    levels = 1 - levels
  span = storage.high - storage.low
  stored = np.round(storage.low + levels * span)
  dataset.Rows, dataset.Columns = film.pixels.shape
  dataset.SamplesPerPixel = 1
  dataset.PhotometricInterpretation = storage.photometric
  dataset.PixelRepresentation = 0
  dataset.BitsStored, dataset.HighBit = storage.bits, storage.bits - 1
  dataset.BitsAllocated = 8 if storage.bits == 8 else 16
  if storage.has_window:
    # The linear window of PS3.3 C.11.2.1.2: from low to high, both included.
    dataset.WindowCenter = (storage.low + storage.high + 1) / 2
    dataset.WindowWidth = span + 1
  kind = np.uint8 if storage.bits == 8 else np.dtype("<u2")
  pixel_data = stored.astype(kind).tobytes()
  dataset.PixelData = pixel_data + bytes(len(pixel_data) % 2)
