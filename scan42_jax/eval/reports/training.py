"""Trains a writer on pairs of film and text, stage by stage, resumably.

Every stage keeps the step with the lowest
validation loss. The order of pairs follows from the seed and the step alone.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from scan42_jax import paths
from scan42_jax.checkpoint import Checkpoints
from scan42_jax.eval.reports.learning import (
  Leaves,
  StageState,
  make_optimizer,
  make_step,
  part_leaves,
  sentence_loss,
  token_loss,
)
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.patches import Seen
from scan42_jax.eval.reports.placing import place_batch, place_parameters
from scan42_jax.eval.reports.sentences import held
from scan42_jax.eval.reports.settings import TrainingSettings
from scan42_jax.eval.reports.writer import Writer, training_rows
from scan42_jax.guards import caught_signals
from scan42_jax.telemetry import MetricWriter
from scan42_jax.types import Array


@dataclasses.dataclass(frozen=True)
class Material:
  """What is learned from.

  Attributes:
    pairs: film and text.
    seen: what is shown of films.
    length: tokens that rows are padded to.
  """

  pairs: Sequence[Pair]
  seen: Seen
  length: int


class Interrupted(Exception):
  """A signal asked the training to stop; it has saved its state."""

  def __init__(self, number: int):
    super().__init__(f"stopped by signal {number}")
    self.number = number


def batches(
  writer: Writer,
  material: Material,
  *,
  batch_size: int,
  seed: int,
  start: int,
) -> Iterator[dict[str, np.ndarray]]:
  """Yields training batches without end, from step `start` on.

  Every epoch is a new order of all pairs; an order is cut into whole batches of
  a stream that goes on in the next.
  """
  number = len(material.pairs)
  epoch, order = -1, np.zeros(0, int)
  for step in range(start, 2**62):
    rows = []
    for place in range(step * batch_size, (step + 1) * batch_size):
      if place // number != epoch:
        epoch = place // number
        order = np.random.default_rng((seed, epoch)).permutation(number)
      rows.append(order[place % number])
    yield make_batch(writer, material, rows)


def make_batch(
  writer: Writer, material: Material, rows: Sequence[int]
) -> dict[str, np.ndarray]:
  """Puts films and tokens of some pairs together."""
  pairs = [material.pairs[row] for row in rows]
  texts = training_rows(writer, pairs, length=material.length)
  batch = {
    "seen": material.seen([pair.film for pair in pairs]),
    **dataclasses.asdict(texts),
  }
  if writer.sentences:
    told = [pair.impression for pair in pairs]
    batch["sentences"] = held(told, writer.sentences)
    batch["concluded"] = np.array([bool(text) for text in told])
  return batch


@dataclasses.dataclass(frozen=True)
class Course:
  """A whole training: what, on what, where and how.

  Attributes:
    writer: to be trained.
    train: to learn from.
    validation: that the best step comes from.
    settings: see TrainingSettings.
    seed: of order and dropout.
    mesh: that batches are split over.
    workdir: of checkpoints and metrics.
    config: resolved settings as JSON values; a checkpoint of others is refused.
    say: takes a line for the user.
    sample: parameters -> texts about some validation films, in Markdown, for
      TensorBoard.
  """

  writer: Writer
  train: Material
  validation: Material
  settings: TrainingSettings
  seed: int
  mesh: Mesh
  workdir: pathlib.Path
  config: dict[str, Any]
  say: Callable[[str], None]
  sample: Callable[[Any], str] | None = None


def train(course: Course, params: Any) -> tuple[Any, dict[str, Any]]:
  """Runs all stages.

  Args:
    course: see Course.
    params: at the start, placed on the mesh.

  Returns:
    The parameters at the lowest validation loss, and facts on each stage.

  Raises:
    Interrupted: a signal came; run again to go on.
    ValueError: a checkpoint belongs to another run.
  """
  stages = course.settings.stages
  moving, frozen = part_leaves(params, stages)
  facts = {}
  for number, stage in enumerate(stages, start=1):
    moving, facts[f"stage_{number}"] = _run_stage(
      course, f"stage_{number}", stage, moving=moving, frozen=frozen
    )
  return paths.unflatten({**frozen, **moving}), facts


def _run_stage(course, name, stage, *, moving, frozen):
  optimizer = make_optimizer(course.settings, stage)
  state = _start(optimizer, moving, course.mesh)
  folder = course.workdir / name
  folder.mkdir(parents=True, exist_ok=True)
  checkpoints = Checkpoints(folder, keep=1)
  metrics = MetricWriter(folder, active=jax.process_index() == 0)
  try:
    restored = checkpoints.restore(_template(state), _accept(course))
    if restored is not None:
      state = restored
      course.say(f"{name} goes on at step {int(state.step)}")
    state = _steps(
      course,
      stage,
      _Tools(name, optimizer, checkpoints, metrics),
      state=state,
      frozen=frozen,
    )
  finally:
    checkpoints.close()
    metrics.close()
  facts = {
    "steps": int(state.step),
    "best_step": int(state.best_step),
    "validation_loss": float(state.best_loss),
  }
  return state.best, facts


@dataclasses.dataclass(frozen=True)
class _Tools:
  name: str
  optimizer: optax.GradientTransformation
  checkpoints: Checkpoints
  metrics: MetricWriter


def _start(optimizer, moving: Leaves, mesh: Mesh) -> StageState:
  """The state of a new stage; every array where the mesh wants it."""

  def make(moving: Leaves) -> StageState:
    return StageState(
      step=jnp.zeros((), jnp.int32),
      moving=moving,
      opt_state=optimizer.init(moving),
      best=moving,
      best_loss=jnp.full((), jnp.inf, jnp.float32),
      best_step=jnp.zeros((), jnp.int32),
    )

  shapes = jax.eval_shape(make, moving)
  return jax.jit(make, out_shardings=place_parameters(mesh, shapes))(moving)


def _template(state: StageState):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    state,
  )


def _accept(course: Course):
  def accept(stored: dict[str, Any]) -> None:
    for name, value in course.config.items():
      if stored.get(name) != value:
        raise ValueError(
          f"{course.workdir} was trained with {name}={stored.get(name)!r}, now"
          f" it is {value!r}: give another --workdir, or the old settings"
        )

  return accept


@dataclasses.dataclass(frozen=True)
class _Programs:
  """What a stage compiles; outputs stay where the state was put."""

  step: Callable
  evaluate: Callable
  keep: Callable


def _compile(course, stage, tools, state: StageState) -> _Programs:
  net = course.writer.net
  places = jax.tree.map(lambda x: x.sharding, state)
  tells = stage.encoder_learning_rate and course.writer.sentences
  step = make_step(
    net,
    tools.optimizer,
    stage=stage,
    sentence_weight=course.settings.sentence_weight if tells else 0.0,
  )

  def evaluate(moving: Leaves, frozen: Leaves, batch: dict[str, Array]):
    params = paths.unflatten({**frozen, **moving})
    if stage.train == "sentences":
      return sentence_loss(net, params, batch, None)
    return token_loss(net, params, batch)

  def keep(state: StageState, loss: Array) -> StageState:
    return state.replace(
      best=state.moving, best_loss=loss, best_step=state.step
    )

  return _Programs(
    step=jax.jit(step, donate_argnums=0, out_shardings=(places, None)),
    evaluate=jax.jit(evaluate),
    keep=jax.jit(keep, donate_argnums=0, out_shardings=places),
  )


def _steps(course, stage, tools, *, state, frozen) -> StageState:
  settings = course.settings
  programs = _compile(course, stage, tools, state)
  start = int(state.step)
  stream = batches(
    course.writer,
    course.train,
    batch_size=settings.batch_size,
    seed=course.seed,
    start=start,
  )
  key = jax.random.fold_in(jax.random.key(course.seed), len(tools.name))
  pace = _Pace(course, tools, stage.steps)
  with caught_signals() as signals:
    for number in range(start + 1, stage.steps + 1):
      batch = place_batch(next(stream), course.mesh)
      state, loss = programs.step(
        state, frozen, batch, jax.random.fold_in(key, number)
      )
      pace.add(number, loss)
      last = number == stage.steps
      if last or number % settings.evaluate_every == 0:
        state = _judge(
          course, stage, programs, tools=tools, state=state, frozen=frozen
        )
        tools.checkpoints.save(number, state, course.config)
      elif signals:
        tools.checkpoints.save(number, state, course.config)
      if signals and not last:
        tools.checkpoints.wait()
        raise Interrupted(int(signals[0]))
  return state


def _judge(course, stage, programs, *, tools, state, frozen) -> StageState:
  """Keeps the parameters if their validation loss is the lowest so far."""
  loss = validation_loss(
    course, lambda batch: programs.evaluate(state.moving, frozen, batch)
  )
  step = int(state.step)
  course.say(f"{tools.name} step {step} validation loss {loss:.4f}")
  tools.metrics.write(step, {"validation_loss": loss})
  if course.sample is not None and stage.train != "sentences":
    texts = course.sample(paths.unflatten({**frozen, **state.moving}))
    tools.metrics.write_text(step, "validation texts", texts)
  if loss < float(state.best_loss):
    state = programs.keep(state, jnp.float32(loss))
  return state


def validation_loss(course: Course, evaluate: Callable) -> float:
  """Mean cross-entropy of what the stage learns, over validation."""
  size = course.settings.batch_size
  number = len(course.validation.pairs)
  total = count = 0.0
  for first in range(0, number, size):
    rows = list(range(first, min(first + size, number)))
    batch = make_batch(
      course.writer,
      course.validation,
      [*rows, *[rows[-1]] * (size - len(rows))],
    )
    batch["weights"][len(rows) :] = 0
    losses, tokens = evaluate(place_batch(batch, course.mesh))
    total, count = total + float(losses), count + float(tokens)
  return total / count


class _Pace:
  """Prints and writes the mean loss and the speed between two lines."""

  def __init__(self, course: Course, tools: _Tools, steps: int):
    self._course, self._tools, self._steps = course, tools, steps
    self._losses: list[Array] = []
    self._since = time.monotonic()

  def add(self, step: int, loss: Array) -> None:
    self._losses.append(loss)
    if step % self._course.settings.log_every and step != self._steps:
      return
    mean = float(np.mean(jax.device_get(self._losses)))
    seconds = time.monotonic() - self._since
    films = len(self._losses) * self._course.settings.batch_size / seconds
    self._tools.metrics.write(step, {"loss": mean, "films_per_second": films})
    self._course.say(
      f"{self._tools.name} step {step}/{self._steps} loss {mean:.4f}"
      f" | {films:.1f} films/s"
    )
    self._losses, self._since = [], time.monotonic()
