"""What a film is once it is read, why one is refused, and how big one may be.

Shared by the readers of DICOM (dicom.py) and of pictures (images.py), so it
knows no file format.
"""

import dataclasses
import re

import numpy as np

MAX_FILE_BYTES = 2**28
"""Largest file that is opened; a 16-bit film of 36 megapixels has 72 MB."""

MAX_PIXELS = 2**26
"""Largest film that is decoded, in pixels: ten times a usual one."""

_LATERAL = {"LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT"}
# All that a view position may be made of; a header's field is no safe place.
_VIEW_WORDS = _LATERAL | {
  "PA", "AP", "L", "R", "LAO", "RAO", "LPO", "RPO", "LLO", "RLO", "LLD", "RLD",
  "AXIAL", "DECUBITUS", "ERECT", "FRONTAL", "HORIZONTAL", "LORDOTIC", "OBLIQUE",
  "PORTABLE", "SUPINE", "SWIMMERS", "UPRIGHT", "XTABLE",
}  # fmt: skip
_VIEW_IN_TEXT = re.compile(
  r"\b(?:(PA|POSTERO-?ANTERIOR)|(AP|ANTERO-?POSTERIOR)|(LAT|LATERAL))\b"
)
_AGE = re.compile(r"(\d{1,3})([DWMY]?)")
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


class RejectedFilm(ValueError):
  """A file that gives no film; the message is one line free of patient data.

  Attributes:
    kind: 'unreadable' (damaged, or of no format we know) or 'skipped' (sound,
      but not a radiograph for display: CT, secondary capture, raw data, ...).
  """

  def __init__(self, reason: str, *, kind: str = "unreadable"):
    super().__init__(reason)
    self.kind = kind


@dataclasses.dataclass(frozen=True, eq=False)
class Film:
  """One radiograph, and all that is ever taken from its header.

  Attributes:
    pixels: uint8 [H, W], bones bright.
    view: 'PA', 'AP', 'LATERAL', another view position in capitals, or ''.
    patient_id: as in the header, '' if unknown; for splitting by patient, to
      be hashed before it is stored.
    sex: 'M', 'F' or ''.
    age_years: NaN if unknown.
    burned_in: the header says that patient data are drawn into the pixels.
  """

  pixels: np.ndarray
  view: str = ""
  patient_id: str = ""
  sex: str = ""
  age_years: float = float("nan")
  burned_in: bool = False


def check_size(rows: int, columns: int) -> None:
  """Refuses what would exhaust memory, before it is decoded.

  Args:
    rows: height in pixels.
    columns: width in pixels.

  Raises:
    RejectedFilm: the film is empty or has more than MAX_PIXELS pixels.
  """
  if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
    raise RejectedFilm(
      f"{rows} x {columns} pixels, allowed are 1 to {MAX_PIXELS}"
    )


def view_position(text: str) -> str:
  """Unifies a DICOM view position: 'll' -> 'LATERAL', 'pa' -> 'PA'.

  Text with any word that no view is made of gives '', and so does none.
  """
  code = text.strip().upper()
  if code in _LATERAL:
    return "LATERAL"
  words = set(code.replace("_", " ").split())
  return code if words <= _VIEW_WORDS else ""


def view_in_text(text: str) -> str:
  """Finds 'PA', 'AP' or 'LATERAL' in free text; '' unless exactly one is."""
  found = {match.lastindex for match in _VIEW_IN_TEXT.finditer(text.upper())}
  return ("PA", "AP", "LATERAL")[found.pop() - 1] if len(found) == 1 else ""


def age_years(text: str) -> float:
  """Turns '045Y', '006M', '002W', '010D' or '45' into years, else NaN."""
  match = _AGE.fullmatch(text.strip().upper())
  return int(match[1]) * _YEARS[match[2]] if match else float("nan")


def to_uint8(values: np.ndarray, *, low: float, high: float) -> np.ndarray:
  """Maps low..high to 0..255, rounded; what lies outside is clipped.

  Args:
    values: grey values of any real type, any shape.
    low: value that becomes 0.
    high: value that becomes 255; with high <= low everything becomes 0.

  Returns:
    uint8 array of the same shape.
  """
  if not high > low:
    return np.zeros(values.shape, np.uint8)
  scaled = values.astype(np.float32)
  scaled -= low
  scaled *= 255 / (high - low)
  np.clip(scaled, 0, 255, out=scaled)
  return np.rint(scaled, out=scaled).astype(np.uint8)


def stretch_truncated(values: np.ndarray) -> np.ndarray:
  """The published run's way to 8 bits: minimum..maximum, then truncation.

  Args:
    values: grey values of any real type, any shape.

  Returns:
    uint8 array of the same shape; all 0 where the published run divided by 0.
  """
  shifted = values - values.astype(np.float64).min()
  peak = shifted.max()
  if peak == 0:
    return np.zeros(values.shape, np.uint8)
  return (shifted / peak * 255).astype(np.uint8)
