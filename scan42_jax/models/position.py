"""Position embeddings at other image sizes: DINOv2's two bicubic resizers.

Both are linear in the table and separable, so each axis is one small constant
matrix, computed on the host in float64.
"""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np

from scan42_jax.types import Array, Float


def resize_position_embedding(
  table: Float[Array, "1+M*M D"],
  grid: tuple[int, int],
  *,
  offset: float,
  antialias: bool,
) -> Float[Array, "1+h*w D"]:
  """Interpolates a square table, its class row kept apart, to another grid.

  Args:
    table: class row, then the rows of an M x M grid.
    grid: patches per column and per row of the image.
    offset: added to the target size before dividing by M; DINOv2 pretrains
      with 0.1, which shifts the sampling step, and releases register backbones
      with 0.
    antialias: widen the kernel where the table shrinks.
  """
  side = math.isqrt(table.shape[0] - 1)
  if grid == (side, side):
    return table
  rows, columns = (
    jnp.asarray(_bicubic_matrix(side, n, offset, antialias), table.dtype)
    for n in grid
  )
  square = table[1:].reshape(side, side, -1)
  resized = jnp.einsum("hm,wn,mnd->hwd", rows, columns, square)
  return jnp.concatenate([table[:1], resized.reshape(-1, table.shape[1])])


@functools.cache
def _bicubic_matrix(
  size: int, new_size: int, offset: float, antialias: bool
) -> np.ndarray:
  """Weights [new_size, size] of a bicubic resize with half-pixel centres."""
  step = size / (new_size + offset)
  if antialias:
    # An axis that keeps its length is left alone, whatever the offset.
    return (
      np.eye(size) if size == new_size else _antialiased(size, new_size, step)
    )
  centres = (np.arange(new_size) + 0.5) * step - 0.5
  matrix = np.zeros((new_size, size))
  for tap in range(-1, 3):
    source = np.floor(centres) + tap
    weight = _cubic(centres - source, sharpness=-0.75)
    column = np.clip(source, 0, size - 1).astype(int)
    np.add.at(matrix, (np.arange(new_size), column), weight)
  return matrix


def _antialiased(size: int, new_size: int, step: float) -> np.ndarray:
  """Weights whose kernel spans the step, normalised inside the table."""
  width = max(step, 1.0)
  centres = (np.arange(new_size)[:, None] + 0.5) * step
  distance = (np.arange(size)[None] + 0.5 - centres) / width
  weights = _cubic(distance, sharpness=-0.5)
  # Taps are cut at whole pixels, as torch does, before they are normalised.
  first = np.maximum(np.floor(centres - 2 * width + 0.5), 0)
  last = np.minimum(np.floor(centres + 2 * width + 0.5), size)
  column = np.arange(size)[None]
  weights = np.where((column >= first) & (column < last), weights, 0)
  return weights / weights.sum(axis=1, keepdims=True)


def _cubic(distance: np.ndarray, sharpness: float) -> np.ndarray:
  """Keys' cubic convolution kernel; `sharpness` is its parameter a."""
  x = np.abs(distance)
  near = ((sharpness + 2) * x - (sharpness + 3)) * x * x + 1
  far = (((x - 5) * x + 8) * x - 4) * sharpness
  return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
