"""Scaled dot-product attention: one function, the best way for each backend."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from scan42_jax.types import Array, Float

_SHORT = 256
"""Tokens up to which all scores at once are no burden."""
_QUERIES = 128
"""Most queries at a time otherwise: their scores stay in the cache."""


def attend(
  q: Float[Array, "N T A E"],
  k: Float[Array, "N T A E"],
  v: Float[Array, "N T A E"],
) -> Float[Array, "N T A E"]:
  """softmax(q k' / sqrt(E)) v, the softmax in float32 or wider.

  On a GPU in half precision it is cuDNN's fused kernel. Elsewhere long rows are
  done some queries at a time, and again in the backward pass, so that no T x T
  matrix is ever stored.
  """
  if q.dtype in (jnp.bfloat16, jnp.float16) and jax.default_backend() == "gpu":
    # Left to itself, JAX would not take the fused kernel.
    return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
  q, k, v = (x.swapaxes(1, 2) for x in (q * q.shape[-1] ** -0.5, k, v))
  attend_some = _attend_all if q.shape[2] <= _SHORT else _by_queries
  return attend_some(q, k, v).swapaxes(1, 2)


def _by_queries(
  q: Float[Array, "N A T E"],
  k: Float[Array, "N A T E"],
  v: Float[Array, "N A T E"],
) -> Float[Array, "N A T E"]:
  # The loop runs over tokens, the one axis that no mesh splits.
  n, a, t, e = q.shape
  number = math.ceil(t / _QUERIES)
  size = math.ceil(t / number)
  q = jnp.pad(q, [(0, 0), (0, 0), (0, number * size - t), (0, 0)])
  parts = jnp.moveaxis(q.reshape(n, a, number, size, e), 2, 0)
  mixed = jax.lax.map(
    jax.checkpoint(lambda part: _attend_all(part, k, v)), parts
  )
  return jnp.moveaxis(mixed, 0, 2).reshape(n, a, -1, e)[:, :, :t]


def _attend_all(
  q: Float[Array, "N A S E"],
  k: Float[Array, "N A T E"],
  v: Float[Array, "N A T E"],
) -> Float[Array, "N A S E"]:
  wide = jnp.promote_types(q.dtype, jnp.float32)
  scores = jnp.einsum("nase,nate->nast", q, k, preferred_element_type=wide)
  peak = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
  weights = jnp.exp(scores - peak)
  mixed = jnp.einsum(
    "nast,nate->nase", weights.astype(v.dtype), v, preferred_element_type=wide
  )
  # Dividing the result is one pass over the scores less than a softmax.
  return (mixed / weights.sum(axis=-1, keepdims=True)).astype(v.dtype)
