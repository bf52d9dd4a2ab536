"""What a stage of training changes, and one step of it: pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from scan42_jax import paths
from scan42_jax.eval.reports.seeing import ENCODER
from scan42_jax.eval.reports.settings import StageSettings, TrainingSettings
from scan42_jax.types import Array, Float, Int

Leaves = dict[str, Array]
"""Parameters by path."""

TRAINED = {
  "all": rf"^(?!{ENCODER}/)",
  "projector": r"^projector/",
  "projector_and_lora": r"^projector/|/lora_[ab]$",
}
"""Which parameters of the decoder each kind of stage moves."""


@flax.struct.dataclass
class StageState:
  """What a stage changes; arrays only.

  Attributes:
    step: of the stage.
    moving: parameters that train in some stage.
    opt_state: of those that train in this one.
    best: `moving` at the lowest validation loss.
    best_loss: this loss.
    best_step: the step.
  """

  step: Int[Array, ""]
  moving: Leaves
  opt_state: Any
  best: Leaves
  best_loss: Float[Array, ""]
  best_step: Int[Array, ""]


def token_loss(
  net: Any, params: Any, batch: dict[str, Array], key: Array | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Cross-entropy of the report's tokens: its sum, and how many there are."""
  train = key is not None
  logits = net.apply(
    {"params": params},
    batch["seen"],
    batch["tokens"],
    batch["valid"],
    train=train,
    rngs={"dropout": key} if train else None,
  )
  following = jnp.roll(batch["tokens"], -1, axis=1)
  losses = optax.softmax_cross_entropy_with_integer_labels(
    logits, jnp.maximum(following, 0)
  )
  weights = batch["weights"]
  return (losses * weights).sum(), weights.sum()


def make_optimizer(
  settings: TrainingSettings, stage: StageSettings
) -> optax.GradientTransformation:
  """AdamW on the parameters of a stage; the others stand still."""
  return optax.multi_transform(
    {
      "decoder": _adamw(settings, stage.learning_rate, steps=stage.steps),
      "encoder": _adamw(
        settings, stage.encoder_learning_rate, steps=stage.steps
      ),
      "still": optax.set_to_zero(),
    },
    lambda tree: {path: _group(path, stage) for path in tree},
  )


def _adamw(
  settings: TrainingSettings, learning_rate: float, *, steps: int
) -> optax.GradientTransformation:
  schedule = optax.warmup_cosine_decay_schedule(
    0.0,
    learning_rate,
    warmup_steps=max(1, round(settings.warmup_share * steps)),
    decay_steps=max(2, steps),
  )
  return optax.chain(
    optax.clip_by_global_norm(settings.clip_norm),
    optax.adamw(
      schedule,
      b2=0.98,
      weight_decay=settings.weight_decay,
      mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree),
    ),
  )


def _group(path: str, stage: StageSettings) -> str:
  """Which optimizer moves a parameter in a stage."""
  if path.startswith(f"{ENCODER}/"):
    return "encoder" if stage.encoder_learning_rate else "still"
  return "decoder" if re.search(TRAINED[stage.train], path) else "still"


def part_leaves(
  params: Any, stages: Sequence[StageSettings]
) -> tuple[Leaves, Leaves]:
  """Parts parameters into those that some stage trains, and the frozen."""
  leaves = paths.flatten(params)
  moving = {
    path: leaf
    for path, leaf in leaves.items()
    if any(_group(path, stage) != "still" for stage in stages)
  }
  return moving, {p: leaf for p, leaf in leaves.items() if p not in moving}


def make_step(net: Any, optimizer: optax.GradientTransformation) -> Callable:
  """Returns (state, frozen, batch, key) -> (state, loss), to be compiled.

  A step whose loss or gradient is not finite changes nothing.
  """

  def step(state: StageState, frozen: Leaves, batch, key):
    def loss(moving: Leaves):
      params = paths.unflatten({**frozen, **moving})
      total, count = token_loss(net, params, batch, key)
      return total / jnp.maximum(count, 1)

    value, gradients = jax.value_and_grad(loss)(state.moving)
    updates, opt_state = optimizer.update(
      gradients, state.opt_state, state.moving
    )
    moving = optax.apply_updates(state.moving, updates)
    finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(updates))
    moving, opt_state = jax.tree.map(
      lambda new, old: jnp.where(finite, new, old),
      (moving, opt_state),
      (state.moving, state.opt_state),
    )
    return (
      state.replace(step=state.step + 1, moving=moving, opt_state=opt_state),
      value,
    )

  return step
