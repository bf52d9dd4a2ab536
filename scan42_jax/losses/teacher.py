"""Teacher targets: softmax centring (DINO) and Sinkhorn-Knopp (SwAV).

Everything is written on global arrays; XLA adds the reductions over devices.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from scan42_jax.types import Array, Bool, Float


def center_and_sharpen(
  logits: Float[Array, "*N K"],
  center: Float[Array, "K"],
  temperature: Float[Array, ""] | float,
) -> Float[Array, "*N K"]:
  """softmax((logits - center) / temperature); Caron et al. 2021, section 3."""
  return jax.nn.softmax((logits - center) / temperature)


def update_center(
  center: Float[Array, "K"], mean: Float[Array, "K"], *, momentum: float
) -> Float[Array, "K"]:
  """momentum * center + (1 - momentum) * mean of the teacher's logits."""
  return momentum * center + (1 - momentum) * mean


def sinkhorn_knopp(
  logits: Float[Array, "N K"],
  temperature: Float[Array, ""] | float,
  valid: Bool[Array, "N"] | None = None,
  *,
  num_iterations: int = 3,
) -> Float[Array, "N K"]:
  """Assigns samples to prototypes so that every prototype gets equal mass.

  Alternates between normalising prototypes to 1/K and samples to 1/N; Caron et
  al. 2020, section 3.1. Agrees with DINOv2's `sinkhorn_knopp_teacher`.

  Args:
    logits: of the teacher.
    temperature: divides the logits.
    valid: rows that take part; the others come back as zeros.
    num_iterations: normalisation rounds.

  Returns:
    Probabilities; the rows of valid samples sum to 1.
  """
  # The total mass is normalised away, so any global shift is exact and this one
  # cannot overflow.
  mass = jnp.exp((logits - logits.max()) / temperature)
  if valid is not None:
    mass = jnp.where(valid[:, None], mass, 0)
  for _ in range(num_iterations):
    mass = _divide(mass, mass.sum(axis=0, keepdims=True)) / mass.shape[1]
    mass = _divide(mass, mass.sum(axis=1, keepdims=True))
  return mass


def _divide(
  mass: Float[Array, "N K"], total: Float[Array, "#N #K"]
) -> Float[Array, "N K"]:
  """mass / total, 0 where a row or column is empty."""
  return mass / jnp.where(total > 0, total, 1)
