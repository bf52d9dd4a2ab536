"""Operators on grey images in [0, 255], pure, each with its numbers given.

They agree with the PIL chain behind DINOv2's augmentations, which stores bytes
between operators. So every operator returns whole numbers, as float32: the
truncation of a jitter and the threshold of solarize act on bytes, four such
roundings left out would add up to levels, and doing them costs nothing.
Saturation, hue and grey conversion leave a grey image as it is: none is here.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scan42_jax.types import Array, Float, Int

Scalar = Float[Array, ""] | float
"""One number, traced or not."""


class Window(NamedTuple):
  """Rectangle in whole pixels."""

  top: Int[Array, ""]
  left: Int[Array, ""]
  height: Int[Array, ""]
  width: Int[Array, ""]


def _cubic(x: Float[Array, "*N"]) -> Float[Array, "*N"]:
  """Keys' cubic convolution kernel with a = -0.5."""
  x = jnp.abs(x)
  near = (1.5 * x - 2.5) * x * x + 1.0
  far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
  return jnp.where(x < 1, near, jnp.where(x < 2, far, 0.0))


def resize_weights(
  start: Int[Array, ""], size: Int[Array, ""], *, in_px: int, out_px: int
) -> Float[Array, "o i"]:
  """Matrix that resizes pixels `start : start + size` of an axis to `out_px`.

  Bicubic with antialiasing as in PIL: the kernel is widened by the shrinking
  factor, weights are normalised over the taps inside the crop.

  Args:
    start: first pixel of the crop.
    size: length of the crop; start and size may be traced.
    in_px: length of the axis.
    out_px: length of the result.
  """
  scale = size / out_px
  centre = (jnp.arange(out_px) + 0.5)[:, None] * scale
  tap = jnp.arange(in_px)[None, :] - start
  weights = _cubic((tap + 0.5 - centre) / jnp.maximum(scale, 1.0))
  weights = jnp.where((tap >= 0) & (tap < size), weights, 0.0)
  return weights / weights.sum(axis=1, keepdims=True)


def resized_crop(
  image: Float[Array, "H W"], window: Window, *, out_px: int
) -> Float[Array, "o o"]:
  """Cuts a window and resizes it to a square of `out_px`, two matrix products.

  PIL stores bytes between its passes, along the rows first or (from version 13
  on, in some shapes) the columns. Clipping but not rounding there stays within
  a level of either order; rounding as well would match one of them exactly and
  leave the other by two.

  Pixels are exact in TF32 and in bf16, weights are not: with the 11 bits of
  TF32's mantissa the result keeps within that level, with the 8 of bf16 it does
  not. Hence `Precision.HIGH`: TF32 on a GPU, three bf16 products on a TPU.
  """
  height, width = image.shape
  rows = resize_weights(window.top, window.height, in_px=height, out_px=out_px)
  columns = resize_weights(
    window.left, window.width, in_px=width, out_px=out_px
  )
  matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGH)
  narrow = jnp.clip(matmul(image, columns.T), 0.0, 255.0)
  return jnp.clip(jnp.floor(matmul(rows, narrow) + 0.5), 0.0, 255.0)


def horizontal_flip(image: Float[Array, "*N W"]) -> Float[Array, "*N W"]:
  """Mirrors left and right."""
  return image[..., ::-1]


def affine(
  image: Float[Array, "H W"],
  *,
  angle_degrees: Scalar,
  shift_px: tuple[Scalar, Scalar],
  zoom: Scalar,
) -> Float[Array, "H W"]:
  """Rotates and zooms about the centre, then shifts; nearest pixel, fill 0.

  Args:
    image: grey image.
    angle_degrees: positive turns clockwise.
    shift_px: shift to the right and down.
    zoom: above 1 enlarges.
  """
  height, width = image.shape
  angle = jnp.deg2rad(angle_degrees)
  cos, sin = jnp.cos(angle) / zoom, jnp.sin(angle) / zoom
  # Where each target pixel's centre comes from: the inverse map.
  x = jnp.arange(width)[None, :] + 0.5 - width / 2 - shift_px[0]
  y = jnp.arange(height)[:, None] + 0.5 - height / 2 - shift_px[1]
  column = jnp.floor(cos * x + sin * y + width / 2).astype(jnp.int32)
  row = jnp.floor(cos * y - sin * x + height / 2).astype(jnp.int32)
  inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
  place = jnp.where(inside, row * width + column, 0)
  return jnp.where(inside, image.reshape(-1)[place], 0.0)


def blend(
  image: Float[Array, "*N"],
  base: Scalar,
  factor: Scalar,
) -> Float[Array, "*N"]:
  """base + factor * (image - base), cut to bytes by truncation as PIL does."""
  return jnp.floor(jnp.clip(base + factor * (image - base), 0.0, 255.0))


def mean_level(image: Float[Array, "H W"]) -> Float[Array, ""]:
  """The image's mean as a whole grey level, what contrast turns about."""
  return jnp.floor(image.mean() + 0.5)


def brightness(image: Float[Array, "*N"], factor: Scalar) -> Float[Array, "*N"]:
  """Multiplies by the factor."""
  return blend(image, 0.0, factor)


def contrast(image: Float[Array, "H W"], factor: Scalar) -> Float[Array, "H W"]:
  """Stretches about the image's mean level by the factor."""
  return blend(image, mean_level(image), factor)


def gaussian_blur(
  image: Float[Array, "H W"],
  sigma: Scalar,
  *,
  kernel_px: int = 9,
) -> Float[Array, "H W"]:
  """Gaussian blur with a square kernel, borders mirrored without the edge.

  Args:
    image: grey image, each side longer than half the kernel.
    sigma: standard deviation in pixels.
    kernel_px: odd side of the kernel.
  """
  reach = kernel_px // 2
  taps = jnp.exp(-0.5 * (jnp.arange(-reach, reach + 1) / sigma) ** 2)
  taps = taps / taps.sum()
  height, width = image.shape
  padded = jnp.pad(image, reach, mode="reflect")
  # Shifted sums fuse into one loop each; a convolution with one kernel per
  # image would become a grouped one, slow everywhere.
  rows = sum(taps[k] * padded[k : k + height] for k in range(kernel_px))
  blurred = sum(taps[k] * rows[:, k : k + width] for k in range(kernel_px))
  return jnp.round(blurred)


def solarize(
  image: Float[Array, "*N"], threshold: float = 128.0
) -> Float[Array, "*N"]:
  """Inverts every pixel at or above the threshold."""
  return jnp.where(image >= threshold, 255.0 - image, image)


def normalize(
  image: Float[Array, "*N"], mean: Sequence[float], std: Sequence[float]
) -> Float[Array, "*N C"]:
  """Scales to [0, 1] and standardises once per channel of the statistics.

  The one place where grey becomes three channels: a pretrained encoder expects
  statistics that differ between red, green and blue.
  """
  mean, std = jnp.asarray(mean), jnp.asarray(std)
  return (image[..., None] / 255.0 - mean) / std
