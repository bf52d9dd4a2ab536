"""The projection head of DINO and iBOT (Caron 2021; Zhou 2022)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from scan42_jax.models.layers import DENSE_INIT
from scan42_jax.types import Array, Float


class ProjectionHead(nn.Module):
  """MLP, unit-length bottleneck, weight-normalised prototypes.

  Attributes:
    num_prototypes: K, outputs.
    num_layers: dense layers before the prototypes, at least 1.
    hidden_dim: channels between those layers.
    bottleneck_dim: channels of the unit-length vector.
    dtype: of activations; logits are float32 or wider.
  """

  num_prototypes: int
  num_layers: int = 3
  hidden_dim: int = 2048
  bottleneck_dim: int = 256
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "*N D"]) -> Float[Array, "*N K"]:
    """Returns prototype logits: cosines times each prototype's gain."""
    hidden = [self.hidden_dim] * (self.num_layers - 1)
    for i, features in enumerate([*hidden, self.bottleneck_dim]):
      if i:
        x = jax.nn.gelu(x, approximate=False)
      x = nn.Dense(
        features, kernel_init=DENSE_INIT, dtype=self.dtype, name=f"mlp_{i}"
      )(x)
    wide = jnp.promote_types(self.dtype, jnp.float32)
    return Prototypes(self.num_prototypes, name="prototypes")(
      unit_length(x.astype(wide)).astype(self.dtype)
    )


class Prototypes(nn.Module):
  """Bias-free dense layer whose columns have a direction and a gain.

  The gain starts at 1 and is trained, as in DINOv2's weight_norm layer.
  """

  num_prototypes: int

  @nn.compact
  def __call__(self, x: Float[Array, "*N D"]) -> Float[Array, "*N K"]:
    direction = self.param(
      "direction", DENSE_INIT, (x.shape[-1], self.num_prototypes)
    )
    gain = self.param("gain", nn.initializers.ones, (self.num_prototypes,))
    kernel = direction * (gain / jnp.linalg.norm(direction, axis=0))
    # A bf16 logit over a temperature of 0.04 would be off by up to 0.1.
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.matmul(x, kernel.astype(x.dtype), preferred_element_type=wide)


def unit_length(x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
  """x / max(|x|, 1e-12), with a finite gradient at 0."""
  squared = jnp.sum(x * x, axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(squared, 1e-24))
