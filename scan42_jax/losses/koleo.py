"""KoLeo: spreads features apart (Sablayrolles et al. 2019)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from scan42_jax.types import Array, Float

_EPSILON = 1e-8


def koleo_loss(
  features: Float[Array, "N D"], *, group: int
) -> Float[Array, ""]:
  """-mean log distance to the nearest neighbour on the unit sphere.

  The neighbour is sought among `group` consecutive rows. The reference searches
  the batch of one device; a fixed group gives the same number on any mesh.
  """
  x = features / jnp.maximum(
    jnp.linalg.norm(features, axis=-1, keepdims=True), _EPSILON
  )
  x = x.reshape(-1, group, x.shape[-1])
  similarity = jnp.einsum("gnd,gmd->gnm", x, x)
  similarity = jnp.where(jnp.eye(group, dtype=bool), -1, similarity)
  nearest = jnp.argmax(jax.lax.stop_gradient(similarity), axis=-1)
  neighbours = jnp.take_along_axis(x, nearest[..., None], axis=1)
  distance = jnp.linalg.norm(x - neighbours + _EPSILON, axis=-1)
  return -jnp.mean(jnp.log(distance + _EPSILON))
