"""What the class token and the registers of an encoder look at.

The weights of one block are computed apart from the encoder's own attention,
for these few queries alone, so no T x T matrix is made for them.
"""

from __future__ import annotations

import dataclasses

import einops
import jax
import jax.numpy as jnp

from scan42_jax.models.vit import VisionTransformer
from scan42_jax.types import Array, EncoderOutput, Float, Params


def encode_with_attention(
  encoder: VisionTransformer,
  params: Params,
  images: Float[Array, "N H W C"],
  *,
  block: int = -1,
) -> tuple[EncoderOutput, Float[Array, "N A Q T"]]:
  """Encodes images and returns one block's attention beside the features.

  Args:
    encoder: its definition.
    params: its parameters.
    images: normalised, sides a multiple of the patch size.
    block: counted from 0, or from the end if negative.

  Returns:
    The features after the last block, and softmax(q k' / sqrt(E)) of the
    class token and the registers (Q = 1 + R) over all tokens, per head A; each
    row sums to 1.

  Raises:
    IndexError: there is no such block.
  """
  name = f"block_{range(encoder.config.depth)[block]:02d}"
  # Rematerialisation only helps gradients, and hides what is inside a block.
  plain = dataclasses.replace(
    encoder, config=dataclasses.replace(encoder.config, remat="none")
  )
  (output,), captured = plain.apply(
    {"params": params},
    images,
    capture_intermediates=lambda module, _: module.path == (name, "norm1"),
    mutable=["intermediates"],
  )
  (tokens,) = captured["intermediates"][name]["norm1"]["__call__"]
  weights = _query_weights(
    params[name]["attn"]["qkv"],
    tokens,
    num_heads=encoder.config.num_heads,
    num_queries=1 + encoder.config.num_registers,
  )
  return output, weights


def _query_weights(
  qkv: Params,
  tokens: Float[Array, "N T D"],
  *,
  num_heads: int,
  num_queries: int,
) -> Float[Array, "N A Q T"]:
  """Attention of the first tokens, in float32 whatever the tokens are."""
  tokens = tokens.astype(jnp.float32)
  width = tokens.shape[-1]
  kernel, bias = qkv["kernel"], qkv["bias"]
  q = tokens[:, :num_queries] @ kernel[:, :width] + bias[:width]
  k = tokens @ kernel[:, width : 2 * width] + bias[width : 2 * width]
  q, k = (
    einops.rearrange(x, "n t (a e) -> n a t e", a=num_heads) for x in (q, k)
  )
  scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
  return jax.nn.softmax(scores)
