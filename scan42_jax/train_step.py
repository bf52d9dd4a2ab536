"""One training step: state and batch in, state and metrics out.

No I/O, no logging, no ConfigDict. The order is DINOv2's: teacher targets,
student losses, gradients, clip, AdamW, teacher average of the updated student,
centres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from scan42_jax.losses.teacher import update_center
from scan42_jax.models.ssl import SelfDistillationNet
from scan42_jax.objective import (
  ObjectiveSettings,
  student_loss,
  target_statistics,
  teacher_targets,
)
from scan42_jax.optim import Optimizer
from scan42_jax.schedules import Hyperparameters, Schedules
from scan42_jax.sharding import constrain_batch
from scan42_jax.types import Array, Batch, Float, Int, Metrics, Params


@flax.struct.dataclass
class TrainState:
  """Everything that a checkpoint must hold.

  Attributes:
    step: batches seen, hence also the position in the data.
    student: trained parameters.
    teacher: moving average of the student.
    opt_state: AdamW moments of the student.
    centers: by head, what centring subtracts from teacher logits.
    skipped_in_a_row: steps since the last one that was taken.
  """

  step: Int[Array, ""]
  student: Params
  teacher: Params
  opt_state: optax.OptState
  centers: Mapping[str, Float[Array, "K"]]
  skipped_in_a_row: Int[Array, ""]


def init_state(
  net: SelfDistillationNet, optimizer: Optimizer, student: Params
) -> TrainState:
  """Starts a run: the teacher is a copy of the student."""
  ibot_head = net.ibot_head or net.dino_head
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    student=student,
    teacher=jax.tree.map(jnp.copy, student),
    opt_state=optimizer.init(student),
    centers={
      "dino": jnp.zeros(net.dino_head.num_prototypes),
      "ibot": jnp.zeros(ibot_head.num_prototypes),
    },
    skipped_in_a_row=jnp.zeros((), jnp.int32),
  )


def make_train_step(
  net: SelfDistillationNet,
  optimizer: Optimizer,
  schedules: Schedules,
  *,
  settings: ObjectiveSettings,
  seed: int = 0,
  num_microbatches: int = 1,
  prepare: Callable[[Any], Batch] = lambda batch: batch,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
  """Builds the step, to be jitted by the caller.

  Args:
    net: definition shared by student and teacher.
    optimizer: turns gradients into parameters.
    schedules: evaluated once per step, however many micro-batches it has.
    settings: of the objective.
    seed: of stochastic depth.
    num_microbatches: consecutive parts of a batch whose gradients are averaged.
      With softmax centring, and KoLeo and mask groups that divide a part, the
      step equals that of one large batch; Sinkhorn-Knopp balances prototypes
      within each part.
    prepare: makes a Batch of one part, on the device.
  """

  def micro_step(state: TrainState, hyper: Hyperparameters, part, key: Array):
    """Gradients, metrics and logit sums of one part."""
    batch = prepare(part)
    targets = teacher_targets(
      net,
      state.teacher,
      state.centers,
      batch=batch,
      temperature=hyper.teacher_temperature,
      settings=settings,
    )

    def loss(student: Params):
      return student_loss(
        net,
        student,
        targets,
        batch=batch,
        settings=settings,
        drop_path_key=key,
      )

    (value, terms), grads = jax.value_and_grad(loss, has_aux=True)(
      state.student
    )
    metrics = {"loss": value, **terms, **target_statistics(targets)}
    return grads, metrics, targets.logit_sums

  def train_step(state: TrainState, batch) -> tuple[TrainState, Metrics]:
    hyper = schedules.at(state.step)
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    grads, metrics, logit_sums = _accumulate(
      lambda part, key: micro_step(state, hyper, part, key),
      batch,
      jax.random.split(key, num_microbatches),
    )
    grads, norms = optimizer.clip(grads)
    new = _apply(state, grads, logit_sums, optimizer, hyper, settings)
    usable = jnp.isfinite(jnp.stack([metrics["loss"], *norms.values()])).all()
    if optimizer.settings.skip_norm:
      limit = optimizer.settings.skip_norm
      usable &= (jnp.stack(list(norms.values())) <= limit).all()
    state = _advance(state, new, usable)
    metrics |= {f"grad_norm_{name}": norm for name, norm in norms.items()}
    metrics |= {
      "learning_rate": hyper.learning_rate,
      "teacher_temperature": hyper.teacher_temperature,
      "skipped_in_a_row": state.skipped_in_a_row,
    }
    return state, metrics

  return train_step


def _accumulate(micro_step, batch, keys: Array):
  """Averages gradients and metrics over parts; adds up logit sums."""
  num_parts = len(keys)
  if num_parts == 1:
    return micro_step(batch, keys[0])
  parts = jax.tree.map(
    lambda x: constrain_batch(x.reshape(num_parts, -1, *x.shape[1:]), axis=1),
    batch,
  )

  def add(total, part_and_key):
    return jax.tree.map(jnp.add, total, micro_step(*part_and_key)), None

  first = jax.tree.map(lambda x: x[0], parts)
  zeros = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype),
    jax.eval_shape(micro_step, first, keys[0]),
  )
  (grads, metrics, sums), _ = jax.lax.scan(add, zeros, (parts, keys))
  mean = lambda tree: jax.tree.map(lambda x: x / num_parts, tree)  # noqa: E731
  return mean(grads), mean(metrics), sums


def _apply(
  state: TrainState,
  grads: Params,
  logit_sums: Mapping[str, tuple[Array, Array]],
  optimizer: Optimizer,
  hyper: Hyperparameters,
  settings: ObjectiveSettings,
) -> TrainState:
  """Student by AdamW, teacher by average of the new student, centres."""
  student, opt_state = optimizer.update(
    grads, state.opt_state, state.student, hyper=hyper
  )
  # In this form a frozen encoder's teacher does not move either.
  teacher = jax.tree.map(
    lambda t, s: t + (1 - hyper.teacher_momentum) * (s - t),
    state.teacher,
    student,
  )
  centers = {
    head: update_center(
      state.centers[head],
      total / jnp.maximum(rows, 1),
      momentum=settings.center_momentum,
    )
    for head, (total, rows) in logit_sums.items()
  }
  return state.replace(
    student=student, teacher=teacher, opt_state=opt_state, centers=centers
  )


def _advance(old: TrainState, new: TrainState, usable: Array) -> TrainState:
  """Takes the new state where the step was usable, else only moves on.

  The step counts either way: it is the position in the data, and the same batch
  would fail again.
  """
  kept = jax.tree.map(lambda n, o: jnp.where(usable, n, o), new, old)
  return kept.replace(
    step=old.step + 1,
    skipped_in_a_row=jnp.where(usable, 0, old.skipped_in_a_row + 1),
  )
