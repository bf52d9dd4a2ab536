"""Vision transformer with registers (Dosovitskiy 2021; Darcet 2024).

Tokens are ordered [class, registers, patches]; registers get no position. The
encoder knows nothing of the task that uses it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from scan42_jax.models.layers import DENSE_INIT, Block, PatchEmbed, layer_norm
from scan42_jax.models.position import resize_position_embedding
from scan42_jax.types import Array, Bool, EncoderOutput, Float


@dataclasses.dataclass(frozen=True)
class ViTConfig:
  """Shape of an encoder.

  Attributes:
    width: channels of a token.
    depth: blocks.
    num_heads: attention heads.
    patch_size: side of a patch, pixels.
    num_registers: register tokens; 0 for the original ViT.
    image_size: side of the image that the position table fits, pixels.
    mlp_ratio: hidden channels of the feed-forward over width.
    swiglu: gated feed-forward instead of GELU.
    layer_scale: initial LayerScale gain.
    drop_path: chance that a sample skips a branch in training.
    position_offset: see `resize_position_embedding`.
    position_antialias: see `resize_position_embedding`.
    remat: recompute blocks in the backward pass instead of storing them.
  """

  width: int
  depth: int
  num_heads: int
  patch_size: int = 14
  num_registers: int = 4
  image_size: int = 518
  mlp_ratio: float = 4.0
  swiglu: bool = False
  layer_scale: float = 1e-5
  drop_path: float = 0.0
  position_offset: float = 0.1
  position_antialias: bool = False
  remat: bool = False


VIT_SHAPES = {
  "S": {"width": 384, "depth": 12, "num_heads": 6},
  "B": {"width": 768, "depth": 12, "num_heads": 12},
  "L": {"width": 1024, "depth": 24, "num_heads": 16},
  "g": {"width": 1536, "depth": 40, "num_heads": 24, "swiglu": True},
}
"""DINOv2's named sizes, as arguments of ViTConfig."""


class VisionTransformer(nn.Module):
  """The encoder.

  Attributes:
    config: its shape.
    dtype: of activations; parameters stay float32.
  """

  config: ViTConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self,
    images: Float[Array, "N H W C"],
    patch_mask: Bool[Array, "N P"] | None = None,
    *,
    layers: Sequence[int] | None = None,
    norm: bool = True,
    train: bool = False,
  ) -> tuple[EncoderOutput, ...]:
    """Encodes images whose sides are multiples of the patch size.

    Args:
      images: normalised, three channels.
      patch_mask: patches to replace by the mask token.
      layers: blocks to return, counted from 0; the last one by default.
      norm: apply the final norm to every returned block.
      train: drop paths, with an rng named 'drop_path'.
    """
    config = self.config
    final_norm = layer_norm(self.dtype, "norm")
    wanted = (config.depth - 1,) if layers is None else tuple(layers)
    tokens = self._embed(images, patch_mask)
    outputs = {}
    for i in range(config.depth):
      tokens = self._block(i)(tokens, train)
      if i in wanted:
        outputs[i] = self._split(final_norm(tokens) if norm else tokens)
    return tuple(outputs[i] for i in wanted)

  def _block(self, index: int) -> nn.Module:
    config = self.config
    block = nn.remat(Block, static_argnums=(2,)) if config.remat else Block
    return block(
      num_heads=config.num_heads,
      hidden=int(config.width * config.mlp_ratio),
      swiglu=config.swiglu,
      layer_scale=config.layer_scale,
      drop_path=config.drop_path,
      dtype=self.dtype,
      name=f"block_{index:02d}",
    )

  def _embed(
    self, images: Float[Array, "N H W C"], patch_mask: Bool[Array, "N P"] | None
  ) -> Float[Array, "N T D"]:
    """Patches, positions and extra tokens, in DINOv2's order."""
    config = self.config
    width, size = config.width, config.patch_size
    side = config.image_size // size
    tiny = nn.initializers.normal(1e-6)
    cls_token = self.param("cls_token", tiny, (1, width))
    mask_token = self.param("mask_token", nn.initializers.zeros, (1, width))
    table = self.param("position_embedding", DENSE_INIT, (1 + side**2, width))

    patches = PatchEmbed(width, size, self.dtype, name="patch_embed")(images)
    if patch_mask is not None:
      patches = jnp.where(
        patch_mask[..., None], mask_token.astype(self.dtype), patches
      )
    grid = (images.shape[1] // size, images.shape[2] // size)
    positions = resize_position_embedding(
      table,
      grid,
      offset=config.position_offset,
      antialias=config.position_antialias,
    ).astype(self.dtype)
    extra = cls_token.astype(self.dtype) + positions[:1]
    if config.num_registers:
      registers = self.param("registers", tiny, (config.num_registers, width))
      extra = jnp.concatenate([extra, registers.astype(self.dtype)])
    extra = jnp.broadcast_to(extra, (len(images), *extra.shape))
    return jnp.concatenate([extra, patches + positions[1:]], axis=1)

  def _split(self, tokens: Float[Array, "N T D"]) -> EncoderOutput:
    first_patch = 1 + self.config.num_registers
    return EncoderOutput(
      cls=tokens[:, 0],
      registers=tokens[:, 1:first_patch],
      patches=tokens[:, first_patch:],
    )
