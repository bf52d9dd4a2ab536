"""Vision transformer with registers (Dosovitskiy 2021; Darcet 2024).

Tokens are ordered [class, registers, patches]; registers get no position. The
encoder knows nothing of the task that uses it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.models.layers import (
  DENSE_INIT,
  Block,
  Crops,
  PatchEmbed,
  layer_norm,
)
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
    remat: what the backward pass computes again instead of keeping it: 'none',
      'dots' everything but products with weights, 'full' whole blocks.
    scan_blocks: in training, all blocks are one loop over their parameters: the
      program is as long as one block's, and what a block keeps is all that is
      kept, on every backend.
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
  remat: Literal["none", "dots", "full"] = "none"
  scan_blocks: bool = False


WAYS_TO_COMPUTE = ("remat", "scan_blocks")
"""Fields of ViTConfig that move memory and time of training, but no number."""

_REMAT_POLICIES = {
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  "full": jax.checkpoint_policies.nothing_saveable,
}

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

  def setup(self):
    config = self.config
    tiny = nn.initializers.normal(1e-6)
    side = config.image_size // config.patch_size
    self.cls_token = self.param("cls_token", tiny, (1, config.width))
    self.mask_token = self.param(
      "mask_token", nn.initializers.zeros, (1, config.width)
    )
    self.position_embedding = self.param(
      "position_embedding", DENSE_INIT, (1 + side**2, config.width)
    )
    if config.num_registers:
      self.registers = self.param(
        "registers", tiny, (config.num_registers, config.width)
      )
    self.patch_embed = PatchEmbed(config.width, config.patch_size, self.dtype)
    for i in range(config.depth):
      setattr(self, f"block_{i:02d}", self._block())
    self.norm = layer_norm(self.dtype)

  def __call__(
    self,
    images: Float[Array, "N H W C"],
    patch_mask: Bool[Array, "N P"] | None = None,
    *,
    layers: Sequence[int] | None = None,
    norm: bool = True,
  ) -> tuple[EncoderOutput, ...]:
    """Encodes images whose sides are multiples of the patch size.

    Args:
      images: normalised, three channels.
      patch_mask: patches to replace by the mask token.
      layers: blocks to return, counted from 0; the last one by default.
      norm: apply the final norm to every returned block.
    """
    last = self.config.depth - 1
    wanted = (last,) if layers is None else tuple(layers)
    tokens = self._embed(images, patch_mask)
    outputs = {}
    for i in range(last + 1):
      tokens = getattr(self, f"block_{i:02d}")(tokens, False, None)
      if i in wanted:
        outputs[i] = self._split(self.norm(tokens) if norm else tokens)
    return tuple(outputs[i] for i in wanted)

  def encode_crops(
    self,
    crops: Sequence[Float[Array, "B _ _ _ C"]],
    patch_mask: Bool[Array, "B G P"] | None = None,
    *,
    train: bool = False,
  ) -> tuple[EncoderOutput, ...]:
    """Encodes crops of several resolutions in one pass through the blocks.

    Args:
      crops: one array [B, crops, H, W, C] for each resolution.
      patch_mask: patches of the first one to replace by the mask token.
      train: drop paths, with an rng named 'drop_path'.

    Returns:
      For each resolution the tokens of all its crops, [B * crops, ...].
    """
    rows, shapes = [], []
    for i, images in enumerate(crops):
      mask = None
      if i == 0 and patch_mask is not None:
        mask = patch_mask.reshape(-1, patch_mask.shape[-1])
      tokens = self._embed(images.reshape(-1, *images.shape[2:]), mask)
      shapes.append((images.shape[1], tokens.shape[1]))
      rows.append(tokens.reshape(len(images), -1, tokens.shape[-1]))
    x = jnp.concatenate(rows, axis=1)
    if self.config.scan_blocks:
      x = self._scan_blocks(x, train, tuple(shapes))
    else:
      for i in range(self.config.depth):
        x = getattr(self, f"block_{i:02d}")(x, train, tuple(shapes))
    x = self.norm(x)
    ends = np.cumsum([count * length for count, length in shapes])
    return tuple(
      self._split(part.reshape(-1, length, x.shape[-1]))
      for part, (_, length) in zip(
        jnp.split(x, ends[:-1], axis=1), shapes, strict=True
      )
    )

  def _block(self) -> nn.Module:
    config = self.config
    if config.remat == "none":
      return Block(**self._block_fields())
    block = nn.remat(
      Block, static_argnums=(2, 3), policy=_REMAT_POLICIES[config.remat]
    )
    return block(**self._block_fields())

  def _block_fields(self) -> dict[str, Any]:
    config = self.config
    return {
      "num_heads": config.num_heads,
      "hidden": int(config.width * config.mlp_ratio),
      "swiglu": config.swiglu,
      "layer_scale": config.layer_scale,
      "drop_path": config.drop_path,
      "dtype": self.dtype,
    }

  def _scan_blocks(
    self, x: Float[Array, "N T D"], train: bool, crops: Crops
  ) -> Float[Array, "N T D"]:
    config = self.config
    block = Block(**self._block_fields(), parent=None)
    names = [f"block_{i:02d}" for i in range(config.depth)]
    params = jax.tree.map(
      lambda *leaves: jnp.stack(leaves),
      *(self.variables["params"][name] for name in names),
    )
    keys = None
    if train and config.drop_path > 0:
      keys = jax.random.split(self.make_rng("drop_path"), config.depth)

    def apply(x, of_block):
      params, key = of_block
      rngs = None if key is None else {"drop_path": key}
      return block.apply({"params": params}, x, train, crops, rngs=rngs), None

    if config.remat != "none":
      # A loop's body is never merged with that of its backward pass.
      policy = _REMAT_POLICIES[config.remat]
      apply = jax.checkpoint(apply, policy=policy, prevent_cse=False)
    return jax.lax.scan(apply, x, (params, keys))[0]

  def _embed(
    self, images: Float[Array, "N H W C"], patch_mask: Bool[Array, "N P"] | None
  ) -> Float[Array, "N T D"]:
    """Patches, positions and extra tokens, in DINOv2's order."""
    config = self.config
    patches = self.patch_embed(images)
    if patch_mask is not None:
      patches = jnp.where(
        patch_mask[..., None], self.mask_token.astype(self.dtype), patches
      )
    size = config.patch_size
    positions = resize_position_embedding(
      self.position_embedding,
      (images.shape[1] // size, images.shape[2] // size),
      offset=config.position_offset,
      antialias=config.position_antialias,
    ).astype(self.dtype)
    extra = self.cls_token.astype(self.dtype) + positions[:1]
    if config.num_registers:
      extra = jnp.concatenate([extra, self.registers.astype(self.dtype)])
    extra = jnp.broadcast_to(extra, (len(images), *extra.shape))
    return jnp.concatenate([extra, patches + positions[1:]], axis=1)

  def _split(self, tokens: Float[Array, "N T D"]) -> EncoderOutput:
    first_patch = 1 + self.config.num_registers
    return EncoderOutput(
      cls=tokens[:, 0],
      registers=tokens[:, 1:first_patch],
      patches=tokens[:, first_patch:],
    )
