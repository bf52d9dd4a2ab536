"""Tells from patch tokens which of some sentences a report holds.

Used in training alone, where it shows an encoder what reports speak of without
the detour over the order and wording of a text.
"""

from __future__ import annotations

import einops
import flax.linen as nn
import jax.numpy as jnp

from scan42_jax.models import cached_attention as cache
from scan42_jax.models.cached_attention import KeyValues
from scan42_jax.models.layers import DENSE_INIT, layer_norm
from scan42_jax.types import Array, Float


class SentenceHead(nn.Module):
  """Attention pooling with a query for every sentence.

  Attributes:
    number: sentences.
    num_heads: attention heads; they divide the width of a patch token.
    dtype: of activations.
  """

  number: int
  num_heads: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, patches: Float[Array, "N P W"]) -> Float[Array, "N K"]:
    """Logits of the sentences."""
    width = patches.shape[-1]
    # Queries and keys of unit size: attention that starts as a plain mean finds
    # nothing small for a long time.
    read = nn.Dense(2 * width, dtype=self.dtype, name="key_value")
    keys, values = einops.rearrange(
      read(layer_norm(self.dtype, name="norm")(patches)),
      "n p (two a e) -> two n p a e",
      two=2,
      a=self.num_heads,
    )
    queries = self.param(
      "queries", nn.initializers.normal(1.0), (self.number, width)
    )
    weights = self.param("weights", DENSE_INIT, (self.number, width))
    bias = self.param("bias", nn.initializers.zeros, (self.number,))
    asked = einops.rearrange(
      queries.astype(self.dtype), "k (a e) -> k a e", a=self.num_heads
    )
    asked = jnp.broadcast_to(asked, (len(patches), *asked.shape))
    mixed = cache.attend(asked, KeyValues(keys, values))
    mixed = einops.rearrange(mixed, "n k a e -> n k (a e)")
    told = jnp.sum(mixed * weights.astype(self.dtype), axis=-1)
    return told.astype(jnp.float32) + bias
