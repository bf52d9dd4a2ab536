"""Films with masks drawn over them, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from scan42_jax.metrics.surface import outline
from scan42_jax.pages.charts import PALETTE
from scan42_jax.types import Bool, UInt8

_LONG_SIDE_PX = 640
_OPACITY = 0.3
_WHITE = (255, 255, 255)


def draw_masks(
  film: UInt8[np.ndarray, "H W"],
  truth: UInt8[np.ndarray, "_ _"],
  prediction: UInt8[np.ndarray, "_ _"],
) -> bytes:
  """Draws the truth as coloured areas and the prediction as their outlines.

  Args:
    film: grey picture.
    truth: class of each pixel, of any size; 0 is background.
    prediction: likewise.

  Returns:
    A PNG; class n has colour n - 1 of the charts' palette. Outlines have a
    white seam, so that they stand out on every grey.
  """
  scale = _LONG_SIDE_PX / max(film.shape)
  shape = tuple(max(round(n * scale), 1) for n in film.shape)
  picture = Image.fromarray(film).resize(shape[::-1], Image.Resampling.BICUBIC)
  canvas = np.repeat(np.asarray(picture, np.float32)[..., None], 3, axis=2)
  truth, prediction = (_resized(c, shape) for c in (truth, prediction))
  classes = range(1, 1 + int(max(truth.max(), prediction.max())))
  for number in classes:
    area = truth == number
    canvas[area] += _OPACITY * (_colour(number) - canvas[area])
  lines = [(n, outline(prediction == n)) for n in classes]
  for _, line in lines:
    canvas[_thick(line, 2)] = _WHITE
  for number, line in lines:
    canvas[_thick(line, 1)] = _colour(number)
  stream = io.BytesIO()
  Image.fromarray(canvas.round().astype(np.uint8)).save(stream, "PNG")
  return stream.getvalue()


def colour_names(structures: Sequence[str]) -> str:
  """Says which colour is which structure, for a caption."""
  names = ("blue", "vermilion", "green")
  return ", ".join(
    f"{structure.replace('_', ' ')} {name}"
    for structure, name in zip(structures, names, strict=False)
  )


def _resized(
  classes: UInt8[np.ndarray, "_ _"], shape: tuple[int, int]
) -> UInt8[np.ndarray, "H W"]:
  picture = Image.fromarray(classes)
  return np.asarray(picture.resize(shape[::-1], Image.Resampling.NEAREST))


def _colour(number: int) -> np.ndarray:
  text = PALETTE[number - 1]
  return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)], np.float32)


def _thick(
  line: Bool[np.ndarray, "H W"], reach: int
) -> Bool[np.ndarray, "H W"]:
  """Widens a line by `reach` pixels to all four sides."""
  for _ in range(reach):
    grown = line.copy()
    grown[1:] |= line[:-1]
    grown[:-1] |= line[1:]
    grown[:, 1:] |= line[:, :-1]
    grown[:, :-1] |= line[:, 1:]
    line = grown
  return line
