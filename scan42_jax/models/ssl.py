"""Encoder and heads as one bundle of pure functions of a parameter tree.

Student and teacher are this one definition and two trees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from scan42_jax.models.heads import ProjectionHead
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.types import Array, Bool, EncoderOutput, Float, Params


@dataclasses.dataclass(frozen=True)
class SelfDistillationNet:
  """The network that DINOv2 trains.

  Attributes:
    encoder: vision transformer.
    dino_head: head of the class token.
    ibot_head: head of masked patches; None shares the DINO head.
  """

  encoder: VisionTransformer
  dino_head: ProjectionHead
  ibot_head: ProjectionHead | None

  def init(self, key: Array) -> Params:
    """Returns fresh float32 parameters {encoder, dino_head[, ibot_head]}."""
    config = self.encoder.config
    keys = jax.random.split(key, 3)
    image = jnp.zeros((1, config.patch_size, config.patch_size, 3))
    token = jnp.zeros((1, config.width))
    modules = {
      "encoder": (self.encoder, image),
      "dino_head": (self.dino_head, token),
    }
    if self.ibot_head is not None:
      modules["ibot_head"] = (self.ibot_head, token)
    return {
      name: module.init(key, example)["params"]
      for key, (name, (module, example)) in zip(
        keys, modules.items(), strict=False
      )
    }

  def encode_crops(
    self,
    params: Params,
    crops: Sequence[Float[Array, "B _ _ _ C"]],
    patch_mask: Bool[Array, "B G P"] | None = None,
    *,
    drop_path_key: Array | None = None,
  ) -> tuple[EncoderOutput, ...]:
    """Encodes crops by resolution; a key switches stochastic depth on.

    See `VisionTransformer.encode_crops`.
    """
    rngs = None if drop_path_key is None else {"drop_path": drop_path_key}
    return self.encoder.apply(
      {"params": params["encoder"]},
      crops,
      patch_mask,
      train=drop_path_key is not None,
      rngs=rngs,
      method="encode_crops",
    )

  def dino_logits(
    self, params: Params, cls: Float[Array, "*N D"]
  ) -> Float[Array, "*N K"]:
    """Prototype logits of class tokens."""
    return self.dino_head.apply({"params": params["dino_head"]}, cls)

  def ibot_rows(
    self, params: Params, patches: Float[Array, "*N D"]
  ) -> Float[Array, "*N E"]:
    """What patch tokens are to the prototypes: bottleneck outputs."""
    return self._apply_ibot(params, patches, method="bottleneck")

  def ibot_kernel(self, params: Params) -> Float[Array, "E K"]:
    """The prototypes of patch tokens."""
    return self._apply_ibot(params, method="kernel")

  def _apply_ibot(self, params: Params, *inputs: Array, method: str) -> Array:
    head, name = self.ibot_head, "ibot_head"
    if head is None:
      head, name = self.dino_head, "dino_head"
    return head.apply({"params": params[name]}, *inputs, method=method)
