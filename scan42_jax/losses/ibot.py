"""iBOT: masked patches predict the teacher's view (Zhou et al. 2022)."""

from __future__ import annotations

from scan42_jax.losses.prototypes import (
  PrototypeTargets,
  weighted_cross_entropy,
)
from scan42_jax.types import Array, Float


def ibot_loss(
  rows: Float[Array, "Q M E"],
  kernel: Float[Array, "E K"],
  targets: PrototypeTargets,
  weights: Float[Array, "Q M"],
  *,
  num_crops: int,
  temperature: float,
) -> Float[Array, ""]:
  """Mean over a crop's masked patches, then over all crops, masked or not.

  Args:
    rows: the student's bottleneck outputs of masked patches, in a fixed number
      of slots.
    kernel: the student's prototypes.
    targets: the teacher's, of the same patches, seen unmasked.
    weights: 1 / masked patches of the crop; 0 in unused slots.
    num_crops: global crops in the batch.
    temperature: of the student.
  """
  total = weighted_cross_entropy(rows, kernel, targets, weights, temperature)
  return total / num_crops
