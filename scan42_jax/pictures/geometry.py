"""Which part of a film the encoder sees, and where a patch lies in it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class View:
  """The encoder's view of a film, as shares of the film's height and width.

  Attributes:
    top: upper edge; negative where the view is larger than the film.
    left: left edge.
    height: 1 for the whole height.
    width: 1 for the whole width.
  """

  top: float = 0.0
  left: float = 0.0
  height: float = 1.0
  width: float = 1.0

  def patch_at(
    self, x: float, y: float, *, grid: tuple[int, int]
  ) -> tuple[int, int]:
    """Returns row and column of the patch nearest to a point of the film.

    Args:
      x: share of the film's width, from the left.
      y: share of its height, from the top.
      grid: rows and columns of patches.
    """
    shares = ((y - self.top) / self.height, (x - self.left) / self.width)
    row, column = (
      min(max(int(share * size), 0), size - 1)
      for share, size in zip(shares, grid, strict=True)
    )
    return row, column

  def centre_of(
    self, row: int, column: int, *, grid: tuple[int, int]
  ) -> tuple[float, float]:
    """Returns the centre (x, y) of a patch, as shares of the film."""
    x = self.left + (column + 0.5) / grid[1] * self.width
    y = self.top + (row + 0.5) / grid[0] * self.height
    return x, y


def encoder_view(
  shape: tuple[int, int],
  *,
  resize_px: int,
  crop_px: int | None,
  squash: bool,
) -> View:
  """Returns what resizing and cropping leave of a film.

  Args:
    shape: height and width of the film.
    resize_px: its shorter side afterwards, or both sides.
    crop_px: side of the square cut from the middle; None cuts nothing.
    squash: whether both sides are resized.
  """
  if crop_px is None:
    return View()
  if squash:
    return _centred(crop_px / resize_px, crop_px / resize_px)
  height, width = shape
  scale = resize_px / min(height, width)
  return _centred(crop_px / (height * scale), crop_px / (width * scale))


def _centred(height: float, width: float) -> View:
  return View((1 - height) / 2, (1 - width) / 2, height, width)
