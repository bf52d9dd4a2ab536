"""Signatures by which two copies of one film are known again.

A copy may be smaller, compressed, equalised, windowed, inverted, padded or
squeezed to a square. A signature is made of the ranks of the grey levels of a
small square, which no rising grey curve changes, in the frequencies that tell
one chest from another; an inverted film gives its negative. Pure functions.
"""

import functools

import numpy as np

from scan42_jax.data import images
from scan42_jax.types import Float, UInt8

COARSE_THRESHOLD = 0.85
FINE_THRESHOLD = 0.85
"""Least similarity of copies; docs/data.md says how often that errs."""

COARSE_SIZE = 256

_TRIM_PX = 256
_FLAT = 12  # A border's rows and columns span fewer grey levels than this.
_LEAST_PART = 4  # No more than all but a fourth of a side is trimmed.


def coarse_signature(
  pixels: UInt8[np.ndarray, "H W"],
) -> Float[np.ndarray, "V 256"]:
  """Returns the signatures to search with: of the film, and without borders.

  Each is of length 1, or 0 where there is nothing to see. V is 1 where the film
  has no border.
  """
  return _signatures(pixels, side_px=32, frequencies=16, power=1.5)


def fine_signature(
  pixels: UInt8[np.ndarray, "H W"],
) -> Float[np.ndarray, "V 576"]:
  """Returns the signatures to confirm with, likewise."""
  return _signatures(pixels, side_px=64, frequencies=24, power=1.0)


def similarity(
  first: Float[np.ndarray, "V D"], second: Float[np.ndarray, "W D"]
) -> float:
  """Returns 1 for copies, inverted or not, and near 0 for strangers."""
  return float(np.abs(first @ second.T).max())


def trim_border(pixels: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "h w"]:
  """Cuts off flat borders; a film that is flat nearly all over stays as it is.

  They are looked for in a smaller copy, in which grain averages out.
  """
  height, width = pixels.shape
  small = images.resize_box(
    pixels, (min(height, _TRIM_PX), min(width, _TRIM_PX))
  ).astype(int)
  spans = [small.max(axis) - small.min(axis) for axis in (1, 0)]
  parts = []
  for span, side in zip(spans, pixels.shape, strict=True):
    inside = np.flatnonzero(span > _FLAT)
    if len(inside) < len(span) / _LEAST_PART:
      return pixels
    scale = side / len(span)
    first, last = inside[0] * scale, (inside[-1] + 1) * scale
    parts.append(slice(int(np.ceil(first)), int(last)))
  return pixels[tuple(parts)]


def _signatures(pixels, **settings):
  trimmed = trim_border(pixels)
  films = [pixels] if trimmed.shape == pixels.shape else [pixels, trimmed]
  return np.stack([_signature(film, **settings) for film in films])


def _signature(pixels, *, side_px, frequencies, power):
  ranks = _ranks(images.resize_box(pixels, (side_px, side_px)))
  cosines, weights = _transform(side_px, frequencies, power)
  signature = (cosines @ ranks @ cosines.T * weights).ravel()
  length = np.linalg.norm(signature)
  return (signature / max(length, 1e-6)).astype(np.float32)


@functools.cache
def _transform(side_px, frequencies, power):
  """Cosine transform, and weights of its frequencies.

  Low ones are alike in all chests: the lowest are left out, the others weigh
  more the higher they are.
  """
  wave, place = np.arange(frequencies)[:, None], np.arange(side_px)
  cosines = np.cos(np.pi * (place + 0.5) * wave / side_px)
  y, x = np.mgrid[:frequencies, :frequencies]
  weights = np.hypot(x, y) ** power * (x + y >= 3)
  return cosines * np.sqrt(2 / side_px), weights


def _ranks(values: np.ndarray) -> np.ndarray:
  """Replaces grey levels by their mean rank, -0.5..0.5; a flat film is 0."""
  _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
  ranks = np.cumsum(counts) - (counts + 1) / 2  # From 0 on.
  return (ranks / values.size - 0.5 * (1 - 1 / values.size))[which].reshape(
    values.shape
  )
