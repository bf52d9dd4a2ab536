"""DINO: student class tokens predict the teacher's (Caron et al. 2021)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from scan42_jax.types import Array, Float


def cross_entropy(
  student_logits: Float[Array, "*N K"],
  teacher_probs: Float[Array, "*N K"],
  *,
  temperature: float,
) -> Float[Array, "*N"]:
  """-sum_k teacher_k log softmax(student / temperature)_k."""
  log_probs = jax.nn.log_softmax(student_logits / temperature)
  return -jnp.sum(teacher_probs * log_probs, axis=-1)


def dino_loss(
  student_global: Float[Array, "B 2 K"],
  student_local: Float[Array, "B L K"],
  teacher_probs: Float[Array, "B 2 K"],
  *,
  temperature: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Cross-entropy of every student crop with the teacher's other crops.

  Each of the 2 + 2L pairs (global crops only with the opposite one) is averaged
  over the batch and divided by the number of pairs, as in DINOv2's step.

  Returns:
    Global and local part; their sum is the DINO loss.
  """
  num_pairs = 2 + 2 * student_local.shape[1]
  opposite = teacher_probs[:, ::-1]
  global_pairs = cross_entropy(
    student_global, opposite, temperature=temperature
  )
  # A local crop meets both teacher crops: sum the targets, not the losses.
  both = teacher_probs.sum(axis=1, keepdims=True)
  local_pairs = cross_entropy(student_local, both, temperature=temperature)
  return (
    global_pairs.sum(axis=1).mean() / num_pairs,
    local_pairs.sum(axis=1).mean() / num_pairs,
  )
