"""DICOM's greyscale pipeline: stored values to an 8-bit film, bones bright.

Pure array work. The order is the standard's (PS3.3 C.11): modality table or
rescale, then value-of-interest table or window, then MONOCHROME1, then 8 bits.
"""

import dataclasses
import functools
import math

import numpy as np

from scan42_jax.data.film import to_uint8

_BAND_ROWS = 64
_add = functools.partial(np.add, dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
  """Lookup table (C.11.1.1, C.11.2.1.1).

  Attributes:
    first: value that is mapped to the first entry; lower ones are too.
    entries: uint16 [N]; values beyond the last get the last.
  """

  first: int
  entries: np.ndarray

  def look_up(self, values: np.ndarray) -> np.ndarray:
    """Maps values of any real type, any shape, to uint16."""
    index = np.rint(values).astype(np.int64) - self.first
    return self.entries[index.clip(0, len(self.entries) - 1)]


@dataclasses.dataclass(frozen=True)
class Window:
  """Range of interest, in rescaled units (C.11.2.1.2).

  Attributes:
    center: middle of the range.
    width: its extent; at least 1 for 'LINEAR', above 0 otherwise.
    function: 'LINEAR', 'LINEAR_EXACT' or 'SIGMOID'.
  """

  center: float
  width: float
  function: str = "LINEAR"

  @property
  def valid(self) -> bool:
    """Whether the numbers describe a window at all; some headers hold zeros."""
    least = 1 if self.function == "LINEAR" else 1e-6
    return math.isfinite(self.center) and least <= self.width < math.inf

  def apply(self, values: np.ndarray) -> np.ndarray:
    """Maps values of any real type, any shape, to uint8."""
    if self.function == "SIGMOID":
      # The logistic function in a form that does not overflow.
      steps = np.tanh(2 / self.width * (values - np.float32(self.center)))
      return to_uint8(steps, low=-1, high=1)
    center, width = self.center, self.width
    if self.function == "LINEAR":
      # The standard counts whole grey levels; width 1 is a step.
      center, width = center - 0.5, max(width - 1, 1e-3)
    return to_uint8(values, low=center - width / 2, high=center + width / 2)


@dataclasses.dataclass(frozen=True, eq=False)
class Display:
  """How a film's stored values are meant to be shown.

  Attributes:
    modality: table that replaces the rescale, if any.
    slope: of the rescale.
    intercept: of the rescale.
    interest: table or window of the values of interest; without one the range
      is minimum..maximum of the film outside its padding.
    padding: lowest and highest stored value that stand for no picture.
    inverted: the lowest value is the brightest (MONOCHROME1).
  """

  modality: Table | None = None
  slope: float = 1.0
  intercept: float = 0.0
  interest: Table | Window | None = None
  padding: tuple[int, int] | None = None
  inverted: bool = False


def render(stored: np.ndarray, display: Display) -> np.ndarray:
  """Shows a film as its header asks.

  Args:
    stored: integers [H, W].
    display: what the header asks.

  Returns:
    uint8 [H, W]; padding is black whatever the polarity.
  """
  padded = np.zeros(stored.shape, bool)
  if display.padding:
    low, high = display.padding
    padded = (stored >= low) & (stored <= high)
  values = _rescale(stored, display)
  grey = _show(values, display.interest, padded)
  if display.inverted:
    grey = 255 - grey
  grey[padded] = 0
  return grey


def average_blocks(
  stored: np.ndarray, display: Display, *, short_side_px: int
) -> np.ndarray:
  """Averages stored values that will be shrunk anyway, before they are shown.

  A quarter of the values is shown in a quarter of the time. Only what is linear
  up to its clipping is averaged: the result differs from averages of the shown
  film only where a block reaches over an end of the window.

  Args:
    stored: integers [H, W].
    display: what the header asks.
    short_side_px: length to which the short side will be shrunk.

  Returns:
    float32 [H / n, W / n], n blocks of which leave the short side long enough;
    `stored` itself where no n of 2 or more divides both sides.
  """
  size = min(stored.shape) // short_side_px
  window = display.interest
  linear = isinstance(window, Window) and window.function != "SIGMOID"
  plain = linear and not display.modality and not display.padding
  if size < 2 or any(side % size for side in stored.shape) or not plain:
    return stored
  height, width = (side // size for side in stored.shape)
  blocks = np.empty((height, width), np.float32)
  # In bands that stay in the processor's cache: four times as fast.
  for top in range(0, height, _BAND_ROWS):
    band = stored[top * size : (top + _BAND_ROWS) * size]
    rows = functools.reduce(_add, (band[i::size] for i in range(size)))
    columns = (rows[:, i::size] for i in range(size))
    blocks[top : top + _BAND_ROWS] = functools.reduce(_add, columns)
  blocks *= 1 / size**2
  return blocks


def _rescale(stored: np.ndarray, display: Display) -> np.ndarray:
  if display.modality:
    return display.modality.look_up(stored)
  if (display.slope, display.intercept) == (1, 0):
    return stored
  return stored * np.float32(display.slope) + np.float32(display.intercept)


def _show(
  values: np.ndarray, interest: Table | Window | None, padded: np.ndarray
) -> np.ndarray:
  if isinstance(interest, Window):
    return interest.apply(values)
  if isinstance(interest, Table):
    # Not the descriptor's bit depth, which some writers leave at 16.
    peak = float(interest.entries.max())
    return to_uint8(interest.look_up(values), low=0, high=peak)
  inside = values[~padded] if padded.any() and not padded.all() else values
  return to_uint8(values, low=float(inside.min()), high=float(inside.max()))
