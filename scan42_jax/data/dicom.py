"""DICOM bytes to a film: what is refused, and how stored values become grey.

The only importer of pydicom. Only tags of an allow-list are read, so nothing
else of a header can leave; reasons and logs quote none of its values. Run as a
script it serves its own compressed pixel data to `bounded.Worker`.
"""

import functools
import io
import logging
import math
import os
import pathlib
import re
import warnings
import zlib

import numpy as np
import pydicom
from pydicom import config, filereader, pixels, uid

from scan42_jax.data import bounded
from scan42_jax.data.film import (
  MAX_FILE_BYTES,
  Film,
  RejectedFilm,
  age_years,
  check_size,
  stretch_truncated,
  to_uint8,
  view_in_text,
  view_position,
)
from scan42_jax.data.rendering import (
  Display,
  Table,
  Window,
  average_blocks,
  render,
)

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # quotes header values

_NATIVE = {
  uid.ImplicitVRLittleEndian,
  uid.ExplicitVRLittleEndian,
  uid.ExplicitVRBigEndian,
  uid.DeflatedExplicitVRLittleEndian,
}
_COMPRESSED = {
  uid.RLELossless,
  uid.JPEGBaseline8Bit,
  uid.JPEGLossless,
  uid.JPEGLosslessSV1,
  uid.JPEGLSLossless,
  uid.JPEGLSNearLossless,
  uid.JPEG2000Lossless,
  uid.JPEG2000,
}
_MODALITIES = {"CR", "DX", "DR", ""}
_GREY = {"MONOCHROME1", "MONOCHROME2"}
_COLOUR = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"}
_WINDOW_FUNCTIONS = {"LINEAR", "LINEAR_EXACT", "SIGMOID"}
_DICOMDIR = "1.2.840.10008.1.3.10"

# Nothing else of a file is looked at: what it is, the header that a film
# carries on, how its pixels are stored, how they are shown.
_TAGS = [
  "Modality", "PresentationIntentType", "NumberOfFrames",
  "PatientID", "PatientSex", "PatientAge", "ViewPosition", "ViewCodeSequence",
  "SeriesDescription", "BurnedInAnnotation",
  "Rows", "Columns", "SamplesPerPixel", "PlanarConfiguration",
  "PhotometricInterpretation", "BitsAllocated", "BitsStored",
  "PixelRepresentation", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
  "PixelData",
  "PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence",
  "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "VOILUTFunction",
  "WindowCenter", "WindowWidth",
]  # fmt: skip


def is_dicom(data: bytes) -> bool:
  """Whether bytes look like DICOM, with or without the preamble."""
  first_groups = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
  return data[128:132] == b"DICM" or data.startswith(first_groups)


def read_dicom(
  data: bytes, *, published: bool = False, short_side_px: int | None = None
) -> Film:
  """Reads a radiograph for display; see `images.read_film`.

  Args:
    data: the whole file.
    published: convert as the published run did.
    short_side_px: the film will be shrunk to this short side; None reads in
      full. Nothing is averaged for `published`.

  Returns:
    The film and the allow-listed part of its header.

  Raises:
    RejectedFilm: no film in it, or none that we can or want to read.
  """
  try:
    with config.disable_value_validation(), warnings.catch_warnings():
      warnings.simplefilter("ignore")  # They quote header values.
      dataset = _parse(data)
      _refuse_what_is_no_film(dataset)
      stored = _stored_values(dataset, data)
      if published:
        pixels_uint8 = _published(stored, dataset)
      else:
        pixels_uint8 = _rendered(stored, dataset, short_side_px)
      return Film(pixels=pixels_uint8, **_header(dataset))
  except RejectedFilm:
    raise
  # Damaged bytes make the parser raise nearly anything; the text of its errors
  # is kept out because it may quote the header.
  except Exception as error:
    raise RejectedFilm(f"damaged DICOM ({type(error).__name__})") from None


def read_size(path: str | pathlib.Path) -> tuple[int, int]:
  """Returns height and width of a film, from its header alone.

  Raises:
    RejectedFilm: the header cannot be read, or is deflated.
  """
  try:
    with config.disable_value_validation(), warnings.catch_warnings():
      warnings.simplefilter("ignore")
      # Deflated files have no header that could be read alone.
      meta = filereader.read_file_meta_info(path)
      if meta.TransferSyntaxUID == uid.DeflatedExplicitVRLittleEndian:
        raise RejectedFilm("deflated, so it has no size to be read first")
      tags = ["Rows", "Columns"]
      header = pydicom.dcmread(
        path, stop_before_pixels=True, specific_tags=tags
      )
      check_size(header.Rows, header.Columns)
      return header.Rows, header.Columns
  except RejectedFilm:
    raise
  except Exception as error:
    raise RejectedFilm(f"damaged DICOM ({type(error).__name__})") from None


def _parse(data: bytes) -> pydicom.FileDataset:
  stream = io.BytesIO(data)
  stream.seek(132 if data[128:132] == b"DICM" else 0)
  meta = filereader.read_dataset(
    stream, False, True, stop_when=lambda tag, *_: tag.group != 2
  )
  if meta.get("MediaStorageSOPClassUID") == _DICOMDIR:
    raise RejectedFilm("a DICOMDIR, which holds no picture", kind="skipped")
  if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
    _refuse_deflate_bomb(data[stream.tell() :])
  dataset = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=_TAGS)
  if "TransferSyntaxUID" not in dataset.file_meta:
    dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
  return dataset


def _refuse_deflate_bomb(deflated: bytes) -> None:
  # pydicom inflates without a limit, so this is tried first.
  inflater = zlib.decompressobj(-zlib.MAX_WBITS)
  try:
    size = len(inflater.decompress(deflated, MAX_FILE_BYTES))
  except zlib.error:
    raise RejectedFilm("damaged deflate stream") from None
  if size == MAX_FILE_BYTES:
    raise RejectedFilm(f"inflates to {MAX_FILE_BYTES} bytes or more")


def _guessed_syntax(dataset: pydicom.FileDataset) -> uid.UID:
  implicit, little_endian = dataset.original_encoding
  if implicit:
    return uid.ImplicitVRLittleEndian
  return (
    uid.ExplicitVRLittleEndian if little_endian else uid.ExplicitVRBigEndian
  )


def _refuse_what_is_no_film(dataset: pydicom.FileDataset) -> None:
  modality = _text(dataset, "Modality")
  if modality not in _MODALITIES:
    shown = modality if re.fullmatch("[A-Z]{2,6}", modality) else "unknown"
    raise RejectedFilm(f"modality {shown}, not CR or DX", kind="skipped")
  if _text(dataset, "PresentationIntentType") == "FOR PROCESSING":
    raise RejectedFilm("FOR PROCESSING, not for display", kind="skipped")
  if int(dataset.get("NumberOfFrames") or 1) > 1:
    raise RejectedFilm("several frames, a film has one", kind="skipped")
  if "PixelData" not in dataset or "Rows" not in dataset:
    raise RejectedFilm("holds no pixel data, or is cut short")
  syntax = dataset.file_meta.TransferSyntaxUID
  if syntax not in _NATIVE | _COMPRESSED:
    shown = syntax if re.fullmatch(r"[0-9.]{1,64}", syntax) else "unknown"
    raise RejectedFilm(f"transfer syntax {shown} is not supported")
  if _text(dataset, "PhotometricInterpretation") not in _GREY | _COLOUR:
    raise RejectedFilm("PhotometricInterpretation is neither grey nor RGB")
  _refuse_impossible_pixels(dataset)


def _refuse_impossible_pixels(dataset: pydicom.FileDataset) -> None:
  check_size(dataset.Rows, dataset.Columns)
  allocated = dataset.BitsAllocated
  stored = _bits_stored(dataset)
  if allocated not in (8, 16) or not 1 <= stored <= allocated:
    raise RejectedFilm(f"{stored} bits in {allocated}, known are 1 to 16 in 16")
  channels = 1 if _text(dataset, "PhotometricInterpretation") in _GREY else 3
  if (dataset.get("SamplesPerPixel") or 1) != channels:
    raise RejectedFilm("SamplesPerPixel contradicts the colour space")


def _stored_values(dataset: pydicom.FileDataset, data: bytes) -> np.ndarray:
  if dataset.file_meta.TransferSyntaxUID in _COMPRESSED:
    try:
      encoded = _decoder(os.getpid())(data)
    except bounded.WorkerError as error:
      raise RejectedFilm(f"damaged pixel data ({error})") from None
    values = np.load(io.BytesIO(encoded), allow_pickle=False)
  else:
    values = _decode(dataset)
  if values.shape[:2] != (dataset.Rows, dataset.Columns):
    raise RejectedFilm("pixel data of another size than the header's")
  return values


@functools.cache
def _decoder(pid: int) -> bounded.Worker:
  # By process, since a forked child must not talk through its parent's pipe.
  del pid
  return bounded.Worker("scan42_jax.data.dicom")


def _decode(dataset: pydicom.FileDataset) -> np.ndarray:
  # What some writers leave out and the decoder insists on.
  for name, value in (
    ("SamplesPerPixel", 1),
    ("PixelRepresentation", 0),
    ("BitsStored", dataset.BitsAllocated),
    ("PlanarConfiguration", 0),
  ):
    if dataset.get(name) is None:
      setattr(dataset, name, value)
  return pixels.pixel_array(dataset, index=0)


def _decode_compressed(data: bytes) -> bytes:
  encoded = io.BytesIO()
  np.save(encoded, _decode(_parse(data)))
  return encoded.getvalue()


def _rendered(
  stored: np.ndarray, dataset: pydicom.FileDataset, short_side_px: int | None
) -> np.ndarray:
  if stored.ndim == 3:
    peak = 2 ** _bits_stored(dataset) - 1
    return to_uint8(_luminance(stored), low=0, high=peak)
  display = _display(dataset)
  if short_side_px:
    stored = average_blocks(stored, display, short_side_px=short_side_px)
  return render(stored, display)


def _published(stored: np.ndarray, dataset: pydicom.FileDataset) -> np.ndarray:
  photometric = _text(dataset, "PhotometricInterpretation")
  values = pixels.apply_voi_lut(stored, dataset)
  if photometric in ("YBR_FULL_422", "MONOCHROME1"):
    values = values.max() - values
  grey = stretch_truncated(values)
  return _luminance(grey).astype(np.uint8) if grey.ndim == 3 else grey


def _luminance(rgb: np.ndarray) -> np.ndarray:
  # ITU-R 601 in 16-bit fixed point, as Pillow's "L".
  weights = np.array([19595, 38470, 7471], np.uint32)
  return (rgb.astype(np.uint32) @ weights + 2**15) >> 16


def _display(dataset: pydicom.FileDataset) -> Display:
  modality = dataset.get("ModalityLUTSequence")
  slope = _number(dataset, "RescaleSlope", 1.0)
  intercept = _number(dataset, "RescaleIntercept", 0.0)
  if not math.isfinite(slope) or not math.isfinite(intercept):
    raise RejectedFilm("rescale slope or intercept is not finite")
  return Display(
    modality=_table(modality[0], dataset) if modality else None,
    slope=slope,
    intercept=intercept,
    interest=_interest(dataset),
    padding=_padding(dataset),
    inverted=_text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
  )


def _interest(dataset: pydicom.FileDataset) -> Table | Window | None:
  tables = dataset.get("VOILUTSequence")
  if tables:
    return _table(tables[0], dataset)
  function = _text(dataset, "VOILUTFunction")
  window = Window(
    center=_number(dataset, "WindowCenter", float("nan")),
    width=_number(dataset, "WindowWidth", float("nan")),
    function=function if function in _WINDOW_FUNCTIONS else "LINEAR",
  )
  return window if window.valid else None


def _table(item: pydicom.Dataset, dataset: pydicom.FileDataset) -> Table:
  length, first, bits = item.LUTDescriptor
  length = length or 2**16
  data = item.LUTData
  order = "<" if dataset.original_encoding[1] else ">"
  if not isinstance(data, bytes):
    data = np.asarray(data, order + "u2").tobytes()
  # Entries of 8 bits may be packed two to a word.
  packed = bits <= 8 and len(data) < 2 * length
  entries = np.frombuffer(data, "u1" if packed else order + "u2")[:length]
  return Table(first=int(first), entries=entries.astype(np.uint16))


def _padding(dataset: pydicom.FileDataset) -> tuple[int, int] | None:
  value = dataset.get("PixelPaddingValue")
  if value is None:
    return None
  limit = dataset.get("PixelPaddingRangeLimit")
  limits = [value, value if limit is None else limit]
  if dataset.get("PixelRepresentation") == 1:  # some write them unsigned
    half = 2 ** (dataset.BitsAllocated - 1)
    limits = [(limit + half) % (2 * half) - half for limit in limits]
  return min(limits), max(limits)


def _header(dataset: pydicom.FileDataset) -> dict:
  sex = _text(dataset, "PatientSex")
  return {
    "view": _view(dataset),
    "patient_id": str(dataset.get("PatientID") or "").strip(),
    "sex": sex if sex in ("M", "F") else "",
    "age_years": age_years(_text(dataset, "PatientAge")),
    "burned_in": _text(dataset, "BurnedInAnnotation") == "YES",
  }


def _view(dataset: pydicom.FileDataset) -> str:
  codes = dataset.get("ViewCodeSequence")
  return (
    view_position(_text(dataset, "ViewPosition"))
    or (view_in_text(_text(codes[0], "CodeMeaning")) if codes else "")
    or view_in_text(_text(dataset, "SeriesDescription"))
  )


def _bits_stored(dataset: pydicom.FileDataset) -> int:
  return dataset.get("BitsStored") or dataset.BitsAllocated


def _text(dataset: pydicom.Dataset, name: str) -> str:
  return str(dataset.get(name) or "").strip().upper()


def _number(dataset: pydicom.FileDataset, name: str, default: float) -> float:
  value = dataset.get(name)
  if isinstance(value, pydicom.multival.MultiValue):
    value = value[0] if value else None  # The first is the default view.
  return default if value is None else float(value)


if __name__ == "__main__":
  bounded.serve(_decode_compressed)
