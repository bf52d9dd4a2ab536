"""Scaled dot-product attention: one function, the best way for each backend."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from scan42_jax.types import Array, Float

_SHORT = 256
"""Tokens up to which all scores at once are no burden."""
_LONG = 512
"""Tokens from which one head's products are large enough for all cores."""
_QUERIES = 128
"""Most queries of all heads at a time: their scores stay in the cache."""
_QUERIES_OF_A_HEAD = 768
"""The same where heads come one by one."""


def attend(
  q: Float[Array, "N T A E"],
  k: Float[Array, "N T A E"],
  v: Float[Array, "N T A E"],
) -> Float[Array, "N T A E"]:
  """softmax(q k' / sqrt(E)) v, the softmax in float32 or wider.

  On a GPU in half precision it is cuDNN's fused kernel. Elsewhere long rows are
  done in parts, and again in the backward pass, so that no T x T matrix is ever
  stored: some queries at a time, or one head at a time on a single CPU.
  """
  if q.dtype in (jnp.bfloat16, jnp.float16) and jax.default_backend() == "gpu":
    # Left to itself, JAX would not take the fused kernel.
    return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
  q, k, v = (x.swapaxes(1, 2) for x in (q * q.shape[-1] ** -0.5, k, v))
  return _way(q.shape[2])(q, k, v).swapaxes(1, 2)


def _way(num_tokens: int) -> Callable[..., Array]:
  if num_tokens <= _SHORT:
    return _attend_all
  one_cpu = jax.default_backend() == "cpu" and jax.device_count() == 1
  return _by_heads if one_cpu and num_tokens >= _LONG else _by_queries


def _by_heads(
  q: Float[Array, "N A T E"],
  k: Float[Array, "N A T E"],
  v: Float[Array, "N A T E"],
) -> Float[Array, "N A T E"]:
  # XLA's CPU backend splits one matrix product over cores, but not many small
  # ones. Half a head's scores leave the cache to the other operands.
  n, a, t, e = q.shape
  number, size = _parts(t, _QUERIES_OF_A_HEAD)
  q = jnp.pad(q, [(0, 0), (0, 0), (0, number * size - t), (0, 0)])
  k, v = (x.reshape(n * a, 1, t, e) for x in (k, v))

  @jax.checkpoint
  def attend_part(part, head):
    return _attend_all(part, k[head][None], v[head][None])

  mixed = jax.lax.map(
    lambda x: attend_part(*x),
    (q.reshape(-1, 1, 1, size, e), jnp.repeat(jnp.arange(n * a), number)),
  )
  return mixed.reshape(n, a, -1, e)[:, :, :t]


def _by_queries(
  q: Float[Array, "N A T E"],
  k: Float[Array, "N A T E"],
  v: Float[Array, "N A T E"],
) -> Float[Array, "N A T E"]:
  # The loop runs over tokens, the one axis that no mesh splits.
  n, a, t, e = q.shape
  number, size = _parts(t, _QUERIES)
  q = jnp.pad(q, [(0, 0), (0, 0), (0, number * size - t), (0, 0)])
  parts = jnp.moveaxis(q.reshape(n, a, number, size, e), 2, 0)
  mixed = jax.lax.map(
    jax.checkpoint(lambda part: _attend_all(part, k, v)), parts
  )
  return jnp.moveaxis(mixed, 0, 2).reshape(n, a, -1, e)[:, :, :t]


def _parts(num_tokens: int, most: int) -> tuple[int, int]:
  """Returns into how many parts of which size tokens are split."""
  number = math.ceil(num_tokens / most)
  return number, math.ceil(num_tokens / number)


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
