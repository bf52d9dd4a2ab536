"""How an encoder and a new head are trained together: AdamW, one rate each.

What fine-tuning and segmentation share; there is no teacher and no prototype.
"""

import jax.numpy as jnp

from scan42_jax.optim import Optimizer, OptimizerSettings
from scan42_jax.schedules import CosineSchedule, Hyperparameters
from scan42_jax.types import Array, Float, Int


def adapting_optimizer(
  *, layerwise_decay: float, clip_norm: float
) -> Optimizer:
  """AdamW whose rate falls from the last block to the first."""
  return Optimizer(
    OptimizerSettings(
      layerwise_decay=layerwise_decay,
      patch_embed_multiplier=1.0,
      clip_norm=clip_norm,
    )
  )


def adapting_rates(
  step: Int[Array, ""],
  *,
  head: float,
  encoder: float,
  weight_decay: float,
  total_steps: int,
  warmup_steps: int,
  constant: bool = False,
) -> Hyperparameters:
  """Returns what the optimizer needs at a step.

  Args:
    step: counted from 0.
    head: peak rate of the head; a half cosine to 0 follows a linear warm-up.
    encoder: peak rate of the encoder's last block, on the same curve.
    weight_decay: decoupled, constant.
    total_steps: where the cosine ends.
    warmup_steps: from 0 to the peak.
    constant: keep both peaks from the first step to the last.
  """

  def rate(peak: float) -> Float[Array, ""]:
    if constant:
      return jnp.float32(peak)
    schedule = CosineSchedule(
      base=peak, final=0.0, total_steps=total_steps, warmup_steps=warmup_steps
    )
    return schedule(step)

  nothing = jnp.float32(0)
  return Hyperparameters(
    learning_rate=rate(head),
    last_layer_learning_rate=rate(head),
    encoder_learning_rate=rate(encoder),
    weight_decay=jnp.float32(weight_decay),
    teacher_momentum=nothing,
    teacher_temperature=nothing,
  )
