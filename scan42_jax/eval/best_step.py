"""A training loop that keeps the best step by validation, and can be killed.

It trains, looks at validation now and then, stops early, and goes on after a
kill where it was. What is trained and how it is judged is the caller's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.checkpoint import Checkpoints
from scan42_jax.telemetry import MetricWriter
from scan42_jax.types import Array

_BEST = "best"


class TrainedState(Protocol):
  """What the loop needs of a state; a flax dataclass of arrays.

  Attributes:
    step: batches seen, hence the position in the data.
    best: highest judgement so far, below all judgements before the first look.
    looks_since: looks at validation since then.
  """

  step: Array
  best: Array
  looks_since: Array

  def replace(self, **changes: Array) -> TrainedState:
    """Returns the state with other arrays."""


@dataclasses.dataclass(frozen=True)
class LoopSettings:
  """How long and how often.

  Attributes:
    steps: at most.
    evaluate_every: steps between looks at validation.
    patience: looks without a better one before training stops.
    batch_size: films of a step, to tell the pace.
    judged: name of the number that is maximised.
  """

  steps: int
  evaluate_every: int
  patience: int
  batch_size: int
  judged: str


@dataclasses.dataclass(frozen=True)
class Trained:
  """What is trained and how it is judged.

  Attributes:
    start: makes the state of step 0, on its devices.
    train: state and batch to state and loss; may consume the state.
    batches: the batches from a step on; has `close`.
    judge: a number to maximise, from validation films.
    config: resolved settings as plain JSON, stored with every step.
    accept: gets the stored ones; raises if they are of another run.
  """

  start: Callable[[], TrainedState]
  train: Callable[[TrainedState, Any], tuple[TrainedState, Array]]
  batches: Callable[[int], Iterator[Any]]
  judge: Callable[[TrainedState], float]
  config: dict[str, Any]
  accept: Callable[[dict[str, Any]], None]


def train_to_best(
  trained: Trained,
  settings: LoopSettings,
  *,
  folder: pathlib.Path,
  signals: list[Any],
  say: Callable[[str], None],
) -> TrainedState | None:
  """Trains to the end, to an early stop or to a signal.

  Args:
    trained: what is trained.
    settings: how long.
    folder: gets checkpoints, the best one, metrics.jsonl, TensorBoard files.
    signals: grows by the signals that ask for an early end.
    say: takes lines for the user.

  Returns:
    The state of the best step; None where a signal ended it.

  Raises:
    ValueError: the folder holds another run.
    FloatingPointError: the loss is not finite.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with contextlib.ExitStack() as stack:
    newest, best = (Checkpoints(f, keep=1) for f in (folder, folder / _BEST))
    writer = MetricWriter(folder)
    for each in (newest, best, writer):
      stack.callback(each.close)
    loop = _Loop(trained, settings, newest, best, writer, say)
    template = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      trained.start(),
    )
    state = newest.restore(template, trained.accept)
    if state is None:
      state = trained.start()
    else:
      say(f"resumed at step {int(state.step)}")
    if not loop.run(state, signals):
      return None
    best.wait()
    return best.restore(template, trained.accept)


@dataclasses.dataclass(frozen=True)
class _Loop:
  trained: Trained
  settings: LoopSettings
  newest: Checkpoints
  best: Checkpoints
  writer: MetricWriter
  say: Callable[[str], None]

  def run(self, state: TrainedState, signals: list[Any]) -> bool:
    """Trains; returns whether there is nothing left to train."""
    s, step = self.settings, int(state.step)
    losses, started = [], time.monotonic()
    over = step >= s.steps or self._is_stale(state)
    with contextlib.closing(self.trained.batches(step)) as batches:
      while not over and not signals:
        state, loss = self.trained.train(state, next(batches))
        losses.append(loss)
        step += 1
        if step % s.evaluate_every and step < s.steps:
          continue
        mean = float(np.mean(jax.device_get(losses)))
        pace = len(losses) * s.batch_size / (time.monotonic() - started)
        state = self._look(state, mean, pace)
        self.newest.save(step, state, self.trained.config)
        over = step >= s.steps or self._is_stale(state)
        losses, started = [], time.monotonic()
    self.newest.wait()
    if over:
      return True
    # What is not saved yet is trained again, to the same numbers.
    name = signals[0].name
    self.say(f"stopped by {name} at step {step}; the same command goes on")
    return False

  def _look(
    self, state: TrainedState, loss: float, pace: float
  ) -> TrainedState:
    """Judges a state; keeps it if it is the best so far."""
    s, step = self.settings, int(state.step)
    if not math.isfinite(loss):
      raise FloatingPointError(
        f"the loss is not finite before step {step}: lower the learning rates"
      )
    value = self.trained.judge(state)
    # Compared as it is stored, so that a resumed run decides alike.
    better = np.float32(value) > np.float32(state.best)
    state = state.replace(
      best=jnp.where(better, jnp.float32(value), state.best),
      looks_since=jnp.where(better, 0, state.looks_since + 1),
    )
    if better:
      self.best.save(step, state, self.trained.config)
    self.writer.write(
      step, {"loss": loss, s.judged: value, "images_per_second": pace}
    )
    self.say(
      f"step {step}/{s.steps} loss {loss:.4f} {s.judged} {value:.4f}"
      f"{' (best so far)' if better else ''}, {pace:.1f} images/s"
    )
    return state

  def _is_stale(self, state: TrainedState) -> bool:
    return int(state.looks_since) >= self.settings.patience
