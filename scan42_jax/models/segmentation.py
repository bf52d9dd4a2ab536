"""From patch tokens to a class for each pixel: a linear head and a decoder.

Both give logits on a grid of their own; `enlarge` brings them to any size.
`SegmentationNet` bundles encoder and head as pure functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from scan42_jax.models.vit import VisionTransformer
from scan42_jax.types import Array, Float, Params

_GROUPS = 8  # Of group norm, where the channels allow it.


class LinearHead(nn.Module):
  """A 1 x 1 convolution on the last block's patch tokens.

  Attributes:
    num_classes: the background among them.
  """

  num_classes: int

  @nn.compact
  def __call__(
    self, grids: Sequence[Float[Array, "N h w D"]]
  ) -> Float[Array, "N h w K"]:
    """Returns logits, one for each patch."""
    return nn.Dense(self.num_classes, name="classes")(grids[-1])


class ProgressiveDecoder(nn.Module):
  """Patch tokens of several blocks, joined, then enlarged step by step.

  Each block's tokens go through a layer of their own and are summed; every
  stage doubles the grid (bilinear), convolves, norms by groups and applies
  GELU, with half the channels of the stage before.

  Attributes:
    num_classes: the background among them.
    width: channels before the first stage.
    stages: doublings of the grid.
  """

  num_classes: int
  width: int = 128
  stages: int = 2

  @nn.compact
  def __call__(
    self, grids: Sequence[Float[Array, "N h w D"]]
  ) -> Float[Array, "N H W K"]:
    """Returns logits on a grid that is 2 ** stages times as fine."""
    x = sum(
      nn.Dense(self.width, name=f"join_{i}")(grid)
      for i, grid in enumerate(grids)
    )
    x = self._refine(x, self.width, "joined")
    for stage in range(self.stages):
      x = enlarge(x, (2 * x.shape[1], 2 * x.shape[2]))
      channels = max(self.width >> (stage + 1), self.num_classes)
      x = self._refine(x, channels, f"stage_{stage}")
    return nn.Dense(self.num_classes, name="classes")(x)

  def _refine(
    self, x: Float[Array, "N h w D"], channels: int, name: str
  ) -> Float[Array, "N h w E"]:
    x = nn.Conv(channels, (3, 3), use_bias=False, name=f"{name}_conv")(x)
    groups = _GROUPS if channels % _GROUPS == 0 else 1
    return nn.gelu(nn.GroupNorm(groups, name=f"{name}_norm")(x))


@dataclasses.dataclass(frozen=True)
class HeadSettings:
  """Shape of a head.

  Attributes:
    kind: 'linear' is the published one.
    layers: blocks that the decoder sees, spread over the depth.
    width: channels of the decoder.
    stages: doublings of the decoder's grid.
  """

  kind: Literal["linear", "decoder"] = "linear"
  layers: int = 4
  width: int = 128
  stages: int = 2


@dataclasses.dataclass(frozen=True)
class SegmentationNet:
  """An encoder with a head, as pure functions of their parameters.

  Attributes:
    encoder: vision transformer.
    head: shape of the head.
    num_classes: the background among them.
  """

  encoder: VisionTransformer
  head: HeadSettings
  num_classes: int

  def init_head(self, key: Array) -> Params:
    """Returns fresh float32 parameters of the head."""
    grid = jnp.zeros((1, 2, 2, self.encoder.config.width))
    return self._head().init(key, [grid] * len(self.layers))["params"]

  def logits(
    self, encoder: Params, head: Params, images: Float[Array, "N H W C"]
  ) -> Float[Array, "N h w K"]:
    """Returns float32 logits on the head's own grid.

    Registers stay out: they hold no place in the film.

    Args:
      encoder: parameters of the encoder.
      head: parameters of the head.
      images: standardised; sides are multiples of the patch size.
    """
    patch = self.encoder.config.patch_size
    grid = (images.shape[1] // patch, images.shape[2] // patch)
    outputs = self.encoder.apply(
      {"params": encoder}, images, layers=self.layers
    )
    grids = [
      o.patches.astype(jnp.float32).reshape(len(images), *grid, -1)
      for o in outputs
    ]
    return self._head().apply({"params": head}, grids)

  @property
  def layers(self) -> tuple[int, ...]:
    """Blocks that the head sees, counted from 0, the last one included."""
    depth = self.encoder.config.depth
    count = min(self.head.layers, depth) if self.head.kind == "decoder" else 1
    return tuple(depth * (i + 1) // count - 1 for i in range(count))

  def _head(self) -> nn.Module:
    if self.head.kind == "linear":
      return LinearHead(self.num_classes)
    return ProgressiveDecoder(
      self.num_classes, self.head.width, self.head.stages
    )


def enlarge(
  x: Float[Array, "N h w K"], size: tuple[int, int]
) -> Float[Array, "N H W K"]:
  """Bilinear interpolation between pixel centres; borders are continued."""
  shape = (len(x), *size, x.shape[-1])
  return jax.image.resize(x, shape, "bilinear", antialias=False)
