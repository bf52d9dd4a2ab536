"""The projection head of DINO and iBOT (Caron 2021; Zhou 2022)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from scan42_jax.models.layers import DENSE_INIT
from scan42_jax.precision import wide_matmul, widen
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

  def setup(self):
    hidden = [self.hidden_dim] * (self.num_layers - 1)
    self.mlp = [
      nn.Dense(features, kernel_init=DENSE_INIT, dtype=self.dtype)
      for features in [*hidden, self.bottleneck_dim]
    ]
    self.prototypes = Prototypes(self.bottleneck_dim, self.num_prototypes)

  def __call__(self, x: Float[Array, "*N D"]) -> Float[Array, "*N K"]:
    """Returns prototype logits: cosines times each prototype's gain."""
    return wide_matmul(self.bottleneck(x), self.kernel())

  def bottleneck(self, x: Float[Array, "*N D"]) -> Float[Array, "*N E"]:
    """Returns the unit-length vectors that meet the prototypes."""
    for i, dense in enumerate(self.mlp):
      x = dense(jax.nn.gelu(x, approximate=False) if i else x)
    return unit_length(widen(x)).astype(self.dtype)

  def kernel(self) -> Float[Array, "E K"]:
    """Returns the prototypes: unit columns times gains, float32."""
    return self.prototypes()


class Prototypes(nn.Module):
  """A direction and a gain for each prototype.

  The gain starts at 1 and is trained, as in DINOv2's weight_norm layer.
  """

  num_inputs: int
  num_prototypes: int

  @nn.compact
  def __call__(self) -> Float[Array, "E K"]:
    direction = self.param(
      "direction", DENSE_INIT, (self.num_inputs, self.num_prototypes)
    )
    gain = self.param("gain", nn.initializers.ones, (self.num_prototypes,))
    return direction * (gain / jnp.linalg.norm(direction, axis=0))


def unit_length(x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
  """x / max(|x|, 1e-12), with a finite gradient at 0."""
  squared = jnp.sum(x * x, axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(squared, 1e-24))
