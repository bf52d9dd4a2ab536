"""Half precision where it is safe, float32 or wider where it is not."""

from __future__ import annotations

import jax.numpy as jnp

from scan42_jax.types import Array, Float


def widen(x: Float[Array, "*X"]) -> Float[Array, "*X"]:
  """Returns float32 for anything narrower; float64 stays."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def wide_matmul(
  rows: Float[Array, "*N E"], kernel: Float[Array, "E K"]
) -> Float[Array, "*N K"]:
  """rows @ kernel with operands as precise as the rows, sums in float32.

  A bf16 prototype logit over a temperature of 0.04 would be off by up to 0.1.
  """
  wide = jnp.promote_types(rows.dtype, jnp.float32)
  return jnp.matmul(
    rows, kernel.astype(rows.dtype), preferred_element_type=wide
  )
