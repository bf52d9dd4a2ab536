"""Masks as text and outlines: run lengths, as CheXmask writes them; polygons.

Pure functions of arrays and strings. Which mask belongs to which film, and how
it is stored, is decided elsewhere.
"""

import numpy as np

from scan42_jax.types import Bool, Float


def decode_runs(
  text: str, *, height: int, width: int
) -> Bool[np.ndarray, "H W"]:
  """Reads run lengths: 'start length start length ...'.

  Starts count from 1 along the rows of the mask, one row after another, so a
  run may go on in the next row.

  Args:
    text: the runs, in any order; '' is an empty mask.
    height: of the mask, in pixels.
    width: of the mask, in pixels.

  Raises:
    ValueError: the text is not made of pairs of whole numbers, or a run leaves
      the mask.
  """
  try:
    numbers = np.array(text.split(), np.int64)
  except (ValueError, OverflowError):
    raise ValueError("run lengths hold something else than numbers") from None
  if len(numbers) % 2:
    raise ValueError(f"run lengths end in a start: {len(numbers)} numbers")
  first, lengths = numbers[::2] - 1, numbers[1::2]
  size = height * width
  wrong = (first < 0) | (lengths < 1) | (lengths > size - first)
  if wrong.any():
    run = int(wrong.argmax())
    raise ValueError(
      f"run '{first[run] + 1} {lengths[run]}' leaves the mask of {height} x "
      f"{width} pixels"
    )
  # Up by one where a run begins, down where it has ended.
  steps = np.zeros(size + 1, np.int32)
  np.add.at(steps, first, 1)
  np.add.at(steps, first + lengths, -1)
  np.cumsum(steps, out=steps)
  return (steps[:size] > 0).reshape(height, width)


def encode_runs(mask: Bool[np.ndarray, "H W"]) -> str:
  """Writes the run lengths of a mask; the inverse of `decode_runs`."""
  flat = np.pad(mask.ravel().astype(np.int8), 1)
  edges = np.flatnonzero(np.diff(flat)) + 1
  edges[1::2] -= edges[::2]
  return " ".join(map(str, edges))


def fill_outline(
  points: Float[np.ndarray, "K 2"], *, height: int, width: int
) -> Bool[np.ndarray, "H W"]:
  """Fills the polygon of some points, by the even-odd rule.

  A pixel is inside if its centre is; centres have whole coordinates.

  Args:
    points: x and y of the corners, in pixels; may lie outside the mask.
    height: of the mask, in pixels.
    width: of the mask, in pixels.
  """
  x, y = np.asarray(points, np.float64).T
  next_x, next_y = np.roll(x, -1), np.roll(y, -1)
  rows = np.arange(height)[:, None]
  # Half open, so that a corner between two edges counts once. [H, K]
  crosses = (np.minimum(y, next_y) <= rows) & (rows < np.maximum(y, next_y))
  row, edge = crosses.nonzero()
  share = (row - y[edge]) / (next_y[edge] - y[edge])
  column = np.ceil(x[edge] + share * (next_x[edge] - x[edge]))
  toggles = np.zeros((height, width + 1), np.uint8)
  np.add.at(toggles, (row, column.clip(0, width).astype(int)), 1)
  return (toggles.cumsum(1, np.uint8)[:, :width] & 1).astype(bool)
