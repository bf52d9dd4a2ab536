"""What the generators of release trees share: tiny films and tables."""

import gzip
import pathlib
from collections.abc import Sequence

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX
from pydicom.uid import ExplicitVRLittleEndian

SIZE_PX = (40, 32)
"""Height and width of a film."""


def film(
  rng: np.random.Generator, *, size_px: tuple[int, int] = SIZE_PX
) -> np.ndarray:
  """A film of its own: a slope with a spot, uint8 [H, W]."""
  height, width = size_px
  rows, columns = np.mgrid[:height, :width]
  slope, bend = rng.uniform(20, 100, 2)
  values = 20 + slope * rows / height + bend * columns / width
  top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
  values[top : top + 8, left : left + 8] += 30
  return values.astype(np.uint8)


def write_film(
  path: pathlib.Path, rng: np.random.Generator, *, depth: int = 8
) -> None:
  """Writes a film as JPEG or PNG of 8 or 16 bits, as its suffix says."""
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = film(rng)
  if depth == 16:
    pixels = pixels.astype(np.uint16) * 257
  Image.fromarray(pixels).save(path)


def write_dicom(
  path: pathlib.Path,
  rng: np.random.Generator,
  *,
  size_px: tuple[int, int] = SIZE_PX,
  **header: str,
) -> None:
  """Writes a film as DICOM of 12 bits.

  Args:
    path: of the file.
    rng: makes the film.
    size_px: height and width.
    header: further elements, or other values for those set here.
  """
  meta = FileMetaDataset()
  meta.MediaStorageSOPClassUID = DX
  meta.MediaStorageSOPInstanceUID = f"2.25.{rng.integers(2**60)}"
  meta.TransferSyntaxUID = ExplicitVRLittleEndian
  data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
  data.SOPClassUID, data.SOPInstanceUID = DX, meta.MediaStorageSOPInstanceUID
  data.Modality = "DX"
  pixels = film(rng, size_px=size_px).astype("<u2") * 16
  data.Rows, data.Columns = pixels.shape
  data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
  data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
  data.PixelRepresentation, data.PixelData = 0, pixels.tobytes()
  path.parent.mkdir(parents=True, exist_ok=True)
  with pydicom.config.disable_value_validation():
    for name, value in header.items():
      setattr(data, name, value)
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def write_csv(
  path: pathlib.Path, header: str | Sequence[str], rows: Sequence[Sequence]
) -> None:
  """Writes a table, compressed if its name says so.

  Args:
    path: of the file.
    header: the first line as the release has it, or the names of the columns.
    rows: cells; None is a blank cell.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  lines = [header if isinstance(header, str) else ",".join(header)]
  lines += [",".join(map(_cell, row)) for row in rows]
  text = "".join(f"{line}\n" for line in lines).encode()
  # Without a time, so that one seed gives one file.
  path.write_bytes(
    gzip.compress(text, mtime=0) if path.suffix == ".gz" else text
  )


def _cell(value) -> str:
  text = "" if value is None else str(value)
  if any(character in text for character in ',"\n'):
    return '"' + text.replace('"', '""') + '"'
  return text


def pick(rng: np.random.Generator, shares: dict):
  """Draws one of the keys by their shares."""
  values = list(shares)
  weights = np.array(list(shares.values()), float)
  return values[rng.choice(len(values), p=weights / weights.sum())]
