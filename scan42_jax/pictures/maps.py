"""Numbers to look at: principal components, similarity, and their colours.

Pure numpy. Knows patches and grey levels, neither files nor pictures.
"""

from __future__ import annotations

import numpy as np

from scan42_jax.types import Bool, Float, UInt8

FOREGROUND_GREY = 12
"""Patches of a lower mean grey level (0..255) are border, not body."""

_HEAT = np.array(
  [
    (0, 0, 8),
    (40, 11, 84),
    (101, 21, 110),
    (159, 42, 99),
    (212, 72, 66),
    (245, 125, 21),
    (250, 193, 39),
    (252, 255, 164),
  ],
  np.float64,
)
"""Dark to light through violet and orange, even in lightness."""


class Components:
  """The first three principal components of patches, as red, green and blue.

  They are fitted to the foreground of all films together, so that a colour
  means the same everywhere. Signs are fixed (the largest loading is positive),
  and each channel spans the 2nd to the 98th percentile of the foreground.
  """

  def __init__(
    self,
    patches: Float[np.ndarray, "P D"],
    foreground: Bool[np.ndarray, "P"],
  ):
    """Fits the components.

    Args:
      patches: of all films.
      foreground: which of them count; all do if fewer than four.
    """
    body = patches[foreground] if foreground.sum() >= 4 else patches
    body = body.astype(np.float64)
    self._mean = body.mean(axis=0)
    covariance = np.cov(body - self._mean, rowvar=False)
    _, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1][:, :3]
    largest = np.abs(axes).argmax(axis=0)
    self._axes = axes * np.sign(axes[largest, range(axes.shape[1])])
    self._low, self._high = np.percentile(self._project(body), (2, 98), axis=0)

  def colours(
    self,
    patches: Float[np.ndarray, "h w D"],
    foreground: Bool[np.ndarray, "h w"],
  ) -> UInt8[np.ndarray, "h w 3"]:
    """Colours the patches of one film; what is not foreground is black."""
    span = np.maximum(self._high - self._low, 1e-12)
    shares = (self._project(patches) - self._low) / span
    colours = np.rint(shares.clip(0, 1) * 255).astype(np.uint8)
    return colours * foreground[..., None].astype(np.uint8)

  def _project(self, patches):
    return (patches - self._mean) @ self._axes


def similarity(
  patches: Float[np.ndarray, "h w D"], row: int, column: int
) -> Float[np.ndarray, "h w"]:
  """Cosine similarity of every patch to one of them."""
  norms = np.linalg.norm(patches, axis=-1, keepdims=True)
  unit = patches / np.maximum(norms, 1e-12)
  return unit @ unit[row, column]


def heat(shares: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
  """Colours shares from 0 (dark) to 1 (light)."""
  steps = np.linspace(0, 1, len(_HEAT))
  channels = [np.interp(shares, steps, channel) for channel in _HEAT.T]
  return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def heat_scale() -> list[str]:
  """The colours of `heat` from low to high, as CSS."""
  return [f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in _HEAT]


def block_means(
  pixels: UInt8[np.ndarray, "H W"], rows: int, columns: int
) -> Float[np.ndarray, "h w"]:
  """Mean grey level below each patch of a grid that covers a picture."""
  sums = pixels.astype(np.float64).cumsum(0).cumsum(1)
  sums = np.pad(sums, ((1, 0), (1, 0)))
  top = np.linspace(0, pixels.shape[0], rows + 1).round().astype(int)
  left = np.linspace(0, pixels.shape[1], columns + 1).round().astype(int)
  corners = sums[top][:, left]
  total = np.diff(np.diff(corners, axis=0), axis=1)
  area = np.diff(top)[:, None] * np.diff(left)[None]
  return total / np.maximum(area, 1)
