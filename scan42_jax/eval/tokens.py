"""What heads see of a film: pooled tokens of the encoder, as pure functions."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from scan42_jax.models.vit import VisionTransformer
from scan42_jax.types import Array, Float, Params

Token = Literal["cls", "first_patch"]


def pooled_tokens(
  net: VisionTransformer,
  params: Params,
  images: Float[Array, "B H W C"],
  *,
  layers: int = 1,
  token: Token = "cls",
) -> Float[Array, "B F"]:
  """Encodes films to [class tokens, oldest block first; mean patch token].

  Every block goes through the final norm. Registers stay out of the mean: they
  hold no place in the film.

  Args:
    net: the encoder.
    params: of the encoder.
    images: standardised.
    layers: class tokens of so many last blocks.
    token: 'first_patch' takes the top left patch in place of the class token,
      and the mean over the other patches.

  Returns:
    float32, layers + 1 tokens in a row.
  """
  depth = net.config.depth
  outputs = net.apply(
    {"params": params}, images, layers=range(depth - layers, depth)
  )
  if token == "cls":
    firsts, patches = [o.cls for o in outputs], outputs[-1].patches
  else:
    firsts = [o.patches[:, 0] for o in outputs]
    patches = outputs[-1].patches[:, 1:]
  mean = patches.astype(jnp.float32).mean(axis=1)
  return jnp.concatenate(
    [*(first.astype(jnp.float32) for first in firsts), mean], axis=1
  )
