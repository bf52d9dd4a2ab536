"""Draws films, overlays and grids of maps, and turns them into PNG bytes.

The film's aspect ratio is kept everywhere, also where the encoder was shown a
square.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scan42_jax.pictures.geometry import View
from scan42_jax.pictures.maps import heat
from scan42_jax.types import Float, UInt8

_GAP_PX = 6
_BACKGROUND = (20, 22, 26)
_MARK = (0, 229, 255)


@dataclasses.dataclass(frozen=True)
class Canvas:
  """A film at the size at which it is drawn, and what the encoder sees of it.

  Attributes:
    film: grey picture.
    view: part that maps cover.
  """

  film: UInt8[np.ndarray, "H W"]
  view: View

  def resized(self, long_side_px: int) -> Canvas:
    """Returns the same at another size, smaller or larger."""
    scale = long_side_px / max(self.film.shape)
    height, width = (max(round(n * scale), 1) for n in self.film.shape)
    picture = Image.fromarray(self.film).resize(
      (width, height), Image.Resampling.LANCZOS
    )
    return Canvas(np.asarray(picture), self.view)

  def seen(self) -> UInt8[np.ndarray, "h w"]:
    """Returns what the encoder sees; black where that is beyond the film."""
    return np.asarray(Image.fromarray(self.film).crop(_box(self)))


def draw_film(
  canvas: Canvas, points: Sequence[tuple[float, float]] = ()
) -> Image.Image:
  """Draws the film, a frame around what is seen, and numbered points."""
  picture = Image.fromarray(canvas.film).convert("RGB")
  if canvas.view != View():
    left, top, right, bottom = _box(canvas)
    ImageDraw.Draw(picture).rectangle(
      (left, top, right - 1, bottom - 1), outline=_MARK, width=2
    )
  for number, point in enumerate(points, 1):
    _mark(picture, point, str(number))
  return picture


def overlay(
  canvas: Canvas, values: Float[np.ndarray, "h w"], *, low: float, high: float
) -> Image.Image:
  """Lays a smoothly enlarged map over the film.

  Args:
    canvas: the film.
    values: one per patch.
    low: value that leaves the film nearly as it is.
    high: value that hides it most.
  """
  # Darker than it is, so that light colours stand out on white bones.
  film = Image.fromarray((canvas.film * 0.75).astype(np.uint8)).convert("RGB")
  shares = ((values - low) / max(high - low, 1e-12)).clip(0, 1)
  # Values are enlarged, not colours: between two colours lies a third.
  shares = np.asarray(
    Image.fromarray(shares.astype(np.float32)).resize(
      _size(canvas), Image.Resampling.BICUBIC
    )
  ).clip(0, 1)
  opacity = np.rint(255 * (0.35 + 0.4 * shares)).astype(np.uint8)
  film.paste(
    Image.fromarray(heat(shares)), _box(canvas)[:2], Image.fromarray(opacity)
  )
  return film


def draw_patches(
  canvas: Canvas, colours: UInt8[np.ndarray, "h w 3"]
) -> Image.Image:
  """Draws each patch as one block, without the film."""
  picture = Image.new("RGB", canvas.film.shape[::-1])
  blocks = Image.fromarray(colours).resize(
    _size(canvas), Image.Resampling.NEAREST
  )
  picture.paste(blocks, _box(canvas)[:2])
  return picture


def with_mark(
  picture: Image.Image, point: tuple[float, float], text: str
) -> Image.Image:
  """Marks one point of a picture, given as shares of width and height."""
  _mark(picture, point, text)
  return picture


def tile(pictures: Sequence[Image.Image]) -> Image.Image:
  """Arranges numbered pictures of one size in reading order."""
  columns = _columns(len(pictures))
  rows = math.ceil(len(pictures) / columns)
  width, height = pictures[0].size
  size = (
    columns * (width + _GAP_PX) - _GAP_PX,
    rows * (height + _GAP_PX) - _GAP_PX,
  )
  sheet = Image.new("RGB", size, _BACKGROUND)
  for i, picture in enumerate(pictures):
    row, column = divmod(i, columns)
    numbered = picture.copy()
    _write(ImageDraw.Draw(numbered), (7, 4), str(i + 1))
    place = (column * (width + _GAP_PX), row * (height + _GAP_PX))
    sheet.paste(numbered, place)
  return sheet


def to_png(picture: Image.Image) -> bytes:
  """Encodes a picture without loss."""
  return _encoded(picture, "PNG")


def to_jpeg(picture: Image.Image) -> bytes:
  """Encodes a picture in about a sixth of that."""
  return _encoded(picture, "JPEG", quality=88)


def _encoded(picture: Image.Image, form: str, **options) -> bytes:
  stream = io.BytesIO()
  picture.save(stream, form, **options)
  return stream.getvalue()


def _columns(count: int) -> int:
  """As near to a square as gives whole rows, at most four, if any does."""
  for columns in (4, 3, 2):
    if count % columns == 0 and count > columns:
      return columns
  return min(count, 4)


def _box(canvas: Canvas) -> tuple[int, int, int, int]:
  """Edges of the view in pixels: left, top, right, bottom."""
  height, width = canvas.film.shape
  view = canvas.view
  return (
    round(view.left * width),
    round(view.top * height),
    round((view.left + view.width) * width),
    round((view.top + view.height) * height),
  )


def _size(canvas: Canvas) -> tuple[int, int]:
  """Width and height of the view in pixels."""
  left, top, right, bottom = _box(canvas)
  return max(right - left, 1), max(bottom - top, 1)


def _mark(picture: Image.Image, point: tuple[float, float], text: str) -> None:
  draw = ImageDraw.Draw(picture)
  x, y = (share * side for share, side in zip(point, picture.size, strict=True))
  radius = max(min(picture.size) / 50, 4)
  for grown, colour in ((3, (0, 0, 0)), (0, _MARK)):
    outline = radius + grown
    draw.ellipse(
      (x - outline, y - outline, x + outline, y + outline),
      outline=colour,
      width=3 + grown,
    )
  # To the left where there is no room on the right.
  right = x + radius + 8
  _write(draw, (right if right < picture.width - 24 else x - 32, y - 18), text)


def _write(draw, place: tuple[float, float], text: str) -> None:
  draw.text(
    place,
    text,
    fill=_MARK,
    font=ImageFont.load_default(size=30),
    stroke_width=3,
    stroke_fill=(0, 0, 0),
  )
