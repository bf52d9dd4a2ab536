"""How far the outlines of two masks are apart."""

from __future__ import annotations

import numpy as np

from scan42_jax.types import Bool, Float, Int

_POINTS_AT_ONCE = 256  # Bounds the memory that a film of any size takes.


def hausdorff95(
  prediction: Bool[np.ndarray, "H W"],
  truth: Bool[np.ndarray, "H W"],
  *,
  spacing: tuple[float, float] = (1.0, 1.0),
) -> float:
  """The 95 % Hausdorff distance of two outlines.

  The larger of two numbers: the 95th percentile of the distances from each
  pixel of one outline to the nearest pixel of the other, both ways. An outline
  is what a mask loses when it is eroded by its four neighbours; beyond the
  border of the picture is outside.

  Args:
    prediction: a mask.
    truth: another one of the same shape.
    spacing: distance of neighbouring rows and columns; (1, 1) gives pixels.

  Returns:
    In the unit of `spacing`. 0 if both are empty, NaN if one of them is.
  """
  if prediction.any() != truth.any():
    return float("nan")
  if not truth.any():
    return 0.0
  box = _bounding_box(prediction | truth)
  first, second = outline(prediction[box]), outline(truth[box])
  ways = [(first, second), (second, first)]
  return max(
    float(np.percentile(_distances(one, other, spacing), 95))
    for one, other in ways
  )


def outline(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
  """Pixels of a mask that touch its outside by an edge."""
  inside = np.pad(mask, 1)
  inner = inside[:-2, 1:-1] & inside[2:, 1:-1]
  inner &= inside[1:-1, :-2] & inside[1:-1, 2:]
  return mask & ~inner


def _bounding_box(mask: Bool[np.ndarray, "H W"]) -> tuple[slice, slice]:
  return tuple(
    slice(used[0], used[-1] + 1)
    for used in (np.flatnonzero(mask.any(axis=a)) for a in (1, 0))
  )


def _distances(
  points: Bool[np.ndarray, "H W"],
  targets: Bool[np.ndarray, "H W"],
  spacing: tuple[float, float],
) -> Float[np.ndarray, "N"]:
  """Distance from each point to the nearest target; exact.

  The nearest target of a column comes from one scan up and one down; a point
  then looks at one of them per column instead of at every target.
  """
  steps = _steps_in_column(targets)
  used = np.flatnonzero(targets.any(axis=0))
  squared = (steps[:, used] * spacing[0]) ** 2
  rows, columns = np.nonzero(points)
  nearest = np.empty(len(rows))
  for start in range(0, len(rows), _POINTS_AT_ONCE):
    part = slice(start, start + _POINTS_AT_ONCE)
    across = (columns[part, None] - used) * spacing[1]
    nearest[part] = (across**2 + squared[rows[part]]).min(axis=1)
  return np.sqrt(nearest)


def _steps_in_column(
  targets: Bool[np.ndarray, "H W"],
) -> Int[np.ndarray, "H W"]:
  """Rows from each pixel to the nearest target of its column."""
  height = len(targets)
  far = 4 * height  # In columns without a target, which nobody looks at.
  row = np.arange(height)[:, None]
  above = np.maximum.accumulate(np.where(targets, row, -far), axis=0)
  below = np.minimum.accumulate(
    np.where(targets, row, height + far)[::-1], axis=0
  )[::-1]
  return np.minimum(row - above, below - row)
