"""iBOT: masked patches predict the teacher's view (Zhou et al. 2022)."""

from __future__ import annotations

import jax.numpy as jnp

from scan42_jax.losses.dino import cross_entropy
from scan42_jax.types import Array, Float


def ibot_loss(
  student_logits: Float[Array, "*M K"],
  teacher_probs: Float[Array, "*M K"],
  weights: Float[Array, "*M"],
  *,
  num_crops: int,
  temperature: float,
) -> Float[Array, ""]:
  """Mean over a crop's masked patches, then over all crops, masked or not.

  Args:
    student_logits: of masked patches, in a fixed number of slots.
    teacher_probs: of the same patches, seen unmasked.
    weights: 1 / masked patches of the crop; 0 in unused slots.
    num_crops: global crops in the batch.
    temperature: of the student.
  """
  losses = cross_entropy(student_logits, teacher_probs, temperature=temperature)
  return jnp.sum(losses * weights) / num_crops
