"""What changes with the step: learning rate, weight decay, teacher.

Agrees with DINOv2's `CosineScheduler` and `build_schedulers`. Everything counts
optimizer steps.
"""

from __future__ import annotations

import dataclasses

import flax.struct
import jax.numpy as jnp

from scan42_jax.types import Array, Float, Int


@flax.struct.dataclass
class Hyperparameters:
  """Values of one step."""

  learning_rate: Float[Array, ""]
  last_layer_learning_rate: Float[Array, ""]
  encoder_learning_rate: Float[Array, ""]
  weight_decay: Float[Array, ""]
  teacher_momentum: Float[Array, ""]
  teacher_temperature: Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class CosineSchedule:
  """Linear warm-up from `start` to `base`, then a half cosine to `final`.

  The warm-up includes both ends, so `base` is visited twice, and `final` is
  first reached at `total_steps`; both are DINOv2's.
  """

  base: float
  final: float
  total_steps: int
  warmup_steps: int = 0
  start: float = 0.0

  def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
    """Returns the value at a step, counted from 0."""
    step = jnp.asarray(step, jnp.result_type(float))
    ramp = step / max(self.warmup_steps - 1, 1)
    rising = self.start + (self.base - self.start) * ramp
    cosine_steps = max(self.total_steps - self.warmup_steps, 1)
    angle = jnp.pi * (step - self.warmup_steps) / cosine_steps
    falling = self.final + (self.base - self.final) / 2 * (1 + jnp.cos(angle))
    falling = jnp.where(step < self.total_steps, falling, self.final)
    return jnp.where(step < self.warmup_steps, rising, falling)


@dataclasses.dataclass(frozen=True)
class Schedules:
  """All schedules of a run.

  Attributes:
    learning_rate: of every parameter, before its multiplier.
    weight_decay: decoupled decay, before its multiplier.
    teacher_momentum: of the moving average that is the teacher.
    teacher_temperature: sharpening of the targets.
    freeze_last_layer_steps: steps in which prototypes do not move.
    freeze_encoder_steps: steps in which only the heads move.
  """

  learning_rate: CosineSchedule
  weight_decay: CosineSchedule
  teacher_momentum: CosineSchedule
  teacher_temperature: CosineSchedule
  freeze_last_layer_steps: int
  freeze_encoder_steps: int = 0

  def at(self, step: Int[Array, ""]) -> Hyperparameters:
    """Evaluates every schedule at a step."""
    step = jnp.asarray(step)
    rate = self.learning_rate(step)

    def thawed(frozen_steps: int) -> Float[Array, ""]:
      return jnp.where(step < frozen_steps, 0.0, rate)

    return Hyperparameters(
      learning_rate=rate,
      last_layer_learning_rate=thawed(self.freeze_last_layer_steps),
      encoder_learning_rate=thawed(self.freeze_encoder_steps),
      weight_decay=self.weight_decay(step),
      teacher_momentum=self.teacher_momentum(step),
      teacher_temperature=self.teacher_temperature(step),
    )
