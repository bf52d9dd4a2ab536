"""Which part of a film an encoder sees, and the way back to every pixel.

Films are prepared by encoder.py; here masks follow them there, by the nearest
pixel, and logits come back to the film's own size.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from scan42_jax.encoder import Encoder
from scan42_jax.types import Bool, Float, Int, UInt8


@dataclasses.dataclass(frozen=True)
class FilmView:
  """The square that the encoder sees of a film.

  Attributes:
    top: of the square, in pixels of the film; fractions occur.
    left: likewise.
    height: likewise.
    width: likewise.
  """

  top: float
  left: float
  height: float
  width: float


def set_view(encoder: Encoder, *, size_px: int, view: str) -> Encoder:
  """Returns the encoder with films prepared for segmentation.

  Its statistics and equalisation stay, the geometry changes.

  Args:
    encoder: any.
    size_px: wanted side; 0 takes the encoder's own.
    view: 'whole' or 'centre_crop', see MaskDataSettings.
  """
  how, patch = encoder.preprocessing, encoder.config.patch_size
  wanted = size_px or how.crop_px or how.resize_px
  side = max(round(wanted / patch), 1) * patch
  whole = view == "whole"
  return encoder.with_preprocessing(
    resize_px=side, squash=whole, crop_px=None if whole else side
  )


def view_of(shape: tuple[int, int], *, side: int, whole: bool) -> FilmView:
  """Returns what a square of `side` shows of a film of any size."""
  height, width = shape
  if whole:
    return FilmView(0.0, 0.0, height, width)
  # As encoder.py rounds: the longer side and the offset are cut to pixels.
  short = min(shape)
  resized = [side * n // short for n in shape]
  top, left = ((n - side) // 2 for n in resized)
  scales = [n / r for n, r in zip(shape, resized, strict=True)]
  return FilmView(
    top * scales[0], left * scales[1], side * scales[0], side * scales[1]
  )


def labels_in_view(
  labels: UInt8[np.ndarray, "H W"], *, side: int, whole: bool
) -> UInt8[np.ndarray, "s s"]:
  """Shows a label map as the encoder sees the film: nearest pixels."""
  view = view_of(labels.shape, side=side, whole=whole)
  centres = (np.arange(side) + 0.5) / side
  rows = np.floor(view.top + centres * view.height).astype(int)
  columns = np.floor(view.left + centres * view.width).astype(int)
  return labels[
    np.clip(rows, 0, labels.shape[0] - 1)[:, None],
    np.clip(columns, 0, labels.shape[1] - 1)[None],
  ]


def classes_of_film(
  logits: Float[np.ndarray, "h w K"],
  shape: tuple[int, int],
  *,
  side: int,
  whole: bool,
) -> UInt8[np.ndarray, "H W"]:
  """Brings logits to a film's size, bilinear, and takes the largest.

  Args:
    logits: on the head's grid.
    shape: of the film, or of its mask.
    side: of the encoder's input.
    whole: the encoder saw the whole film; elsewhere there is background.
  """
  view = view_of(shape, side=side, whole=whole)
  rows = _places(shape[0], view.top, view.height, cells=logits.shape[0])
  columns = _places(shape[1], view.left, view.width, cells=logits.shape[1])
  best = np.full(shape, -np.inf, np.float32)
  classes = np.zeros(shape, np.uint8)
  for number in range(logits.shape[2]):  # One class in memory at a time.
    values = np.asarray(logits[..., number], np.float32)
    values = columns.interpolate(rows.interpolate(values).T).T
    classes[values > best] = number
    np.maximum(best, values, out=best)
  classes[~rows.inside] = 0
  classes[:, ~columns.inside] = 0
  return classes


@dataclasses.dataclass(frozen=True)
class _Places:
  """Where the pixels of an axis lie among the cells of a grid.

  Attributes:
    low: cell before each pixel.
    share: weight of the cell after it.
    inside: pixels that the grid covers.
  """

  low: Int[np.ndarray, "n"]
  share: Float[np.ndarray, "n"]
  inside: Bool[np.ndarray, "n"]

  def interpolate(
    self, cells: Float[np.ndarray, "m k"]
  ) -> Float[np.ndarray, "n k"]:
    """Reads cells at the pixels, linearly; beyond the grid the last one."""
    # No matrix product: its threads would fight with those of other films.
    after = np.minimum(self.low + 1, len(cells) - 1)
    values = cells[self.low]
    values += self.share[:, None] * (cells[after] - values)
    return values


def _places(pixels: int, start: float, length: float, *, cells: int) -> _Places:
  centre = np.arange(pixels) + 0.5
  place = np.clip((centre - start) / length * cells - 0.5, 0, cells - 1)
  low = np.floor(place).astype(int)
  return _Places(
    low=low,
    share=(place - low).astype(np.float32),
    inside=(centre >= start) & (centre <= start + length),
  )
