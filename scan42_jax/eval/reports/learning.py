"""What a stage of training changes, and one step of it: pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
import optax.contrib

from scan42_jax import paths
from scan42_jax.eval.reports.seeing import (
  ENCODER,
  SENTENCES,
  SeeingDecoder,
)
from scan42_jax.eval.reports.settings import StageSettings, TrainingSettings
from scan42_jax.types import Array, Float, Int

Leaves = dict[str, Array]
"""Parameters by path."""

TRAINED = {
  "all": "",
  "sentences": r"$^",
  "projector": r"^projector/",
  "projector_and_lora": r"^projector/|/lora_[ab]$",
}
"""Which parameters of the decoder each kind of stage moves."""

_MUON_GAIN = 10
_PROJECTIONS = r"/(kernel|lora_[ab])$"


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
  net: Any, params: Any, batch: dict[str, Array]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Cross-entropy of the report's tokens: its sum, and how many there are."""
  logits = net.apply(
    {"params": params}, batch["seen"], batch["tokens"], batch["valid"]
  )
  return _cross_entropy(logits, batch)


def sentence_loss(
  net: SeeingDecoder, params: Any, batch: dict[str, Array], key: Array | None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Cross-entropy of sentences of the impressions: its sum, and their number.

  Args:
    net: with a head.
    params: its parameters.
    batch: see `training.make_batch`; reports without an impression, or without
      a token that counts, are left out.
    key: of moves in training; None for films as they are.
  """
  told = net.apply(
    {"params": params},
    batch["seen"],
    train=key is not None,
    rngs={"dropout": key},
    method="tell",
  )
  return _missed(told, batch)


def learning_loss(
  net: Any,
  params: Any,
  batch: dict[str, Array],
  *,
  key: Array,
  sentence_weight: float,
) -> Float[Array, ""]:
  """What a step lowers: cross-entropy of a token, and of sentences if asked.

  Args:
    net: see Writer; a SeeingDecoder where sentences are asked for.
    params: its parameters.
    batch: see `training.make_batch`.
    key: of dropout and moves.
    sentence_weight: of the sentences; a report's sum over its tokens weighs 1.
  """
  output = net.apply(
    {"params": params},
    batch["seen"],
    batch["tokens"],
    batch["valid"],
    train=True,
    rngs={"dropout": key},
    method="learn" if sentence_weight else None,
  )
  logits, told = output if sentence_weight else (output, None)
  total, count = _cross_entropy(logits, batch)
  if sentence_weight:
    total = total + sentence_weight * _missed(told, batch)[0]
  return total / jnp.maximum(count, 1)


def _missed(
  told: Float[Array, "N K"], batch: dict[str, Array]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  losses = optax.sigmoid_binary_cross_entropy(told, batch["sentences"])
  counted = batch["concluded"] & batch["weights"].any(axis=1)
  return (losses.sum(axis=1) * counted).sum(), counted.sum()


def _cross_entropy(
  logits: Float[Array, "N T V"], batch: dict[str, Array]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  following = jnp.roll(batch["tokens"], -1, axis=1)
  losses = optax.softmax_cross_entropy_with_integer_labels(
    logits, jnp.maximum(following, 0)
  )
  weights = batch["weights"]
  return (losses * weights).sum(), weights.sum()


def make_optimizer(
  settings: TrainingSettings, stage: StageSettings
) -> optax.GradientTransformation:
  """AdamW or Muon on the parameters of a stage; the others stand still."""

  def moving(learning_rate: float) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(
      0.0,
      learning_rate,
      warmup_steps=max(1, round(settings.warmup_share * stage.steps)),
      decay_steps=max(2, stage.steps),
    )
    kind = {"adamw": _adamw, "muon": _muon}[settings.optimizer]
    return optax.chain(
      optax.clip_by_global_norm(settings.clip_norm),
      kind(schedule, settings.weight_decay),
    )

  return optax.multi_transform(
    {
      "decoder": moving(stage.learning_rate),
      "encoder": moving(stage.encoder_learning_rate),
      "still": optax.set_to_zero(),
    },
    lambda tree: {path: _group(path, stage) for path in tree},
  )


def _adamw(
  schedule: optax.Schedule, weight_decay: float
) -> optax.GradientTransformation:
  return optax.adamw(
    schedule,
    b2=0.98,
    weight_decay=weight_decay,
    mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree),
  )


def _muon(
  schedule: optax.Schedule, weight_decay: float
) -> optax.GradientTransformation:
  """Muon (Jordan et al. 2024) for projections, Adam for what else there is.

  Muon's rates are larger by _MUON_GAIN: 0.02 where Adam takes 0.002.
  """
  return optax.contrib.muon(
    lambda step: _MUON_GAIN * schedule(step),
    adam_learning_rate=schedule,
    weight_decay=weight_decay,
    adam_b2=0.98,
    muon_weight_dimension_numbers=lambda tree: {
      path: _as_matrix(path, leaf) for path, leaf in tree.items()
    },
  )


def _as_matrix(
  path: str, leaf: Any
) -> optax.contrib.MuonDimensionNumbers | None:
  """Axes of a projection: inputs, outputs; None for everything else."""
  # Leaves that another group moves have no axes at all.
  if getattr(leaf, "ndim", 0) != 2 or not re.search(_PROJECTIONS, path):
    return None
  return optax.contrib.MuonDimensionNumbers(0, 1)


def _group(path: str, stage: StageSettings) -> str:
  """Which optimizer moves a parameter in a stage."""
  if path.startswith(f"{SENTENCES}/"):
    return "decoder" if stage.encoder_learning_rate else "still"
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


def make_step(
  net: Any,
  optimizer: optax.GradientTransformation,
  *,
  stage: StageSettings,
  sentence_weight: float = 0.0,
) -> Callable:
  """Returns (state, frozen, batch, key) -> (state, loss), to be compiled.

  A step whose loss or gradient is not finite changes nothing.
  """

  def step(state: StageState, frozen: Leaves, batch, key):
    def loss(moving: Leaves):
      params = paths.unflatten({**frozen, **moving})
      if stage.train == "sentences":
        total, count = sentence_loss(net, params, batch, key)
        return total / jnp.maximum(count, 1)
      return learning_loss(
        net, params, batch, key=key, sentence_weight=sentence_weight
      )

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
