"""The training loop, which only sequences: data, step, log, monitor, save."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections
from jax.sharding import Mesh

from scan42_jax import (
  compute,
  distributed,
  sharding,
  telemetry,
  whole_files,
)
from scan42_jax.caretaker import Caretaker
from scan42_jax.checkpoint import Checkpoints
from scan42_jax.config import from_config
from scan42_jax.data.broken import BrokenFilms
from scan42_jax.data.pipeline import Mixture, training_films
from scan42_jax.data.sources import open_films
from scan42_jax.eval.drift import drift_problem
from scan42_jax.eval.held_out import HeldOut
from scan42_jax.guards import SkipGuard, caught_signals
from scan42_jax.models.vit import WAYS_TO_COMPUTE
from scan42_jax.optim import Optimizer
from scan42_jax.program import (
  compile_step,
  make_training_mesh,
  state_shapes,
  state_shardings,
)
from scan42_jax.run_report.differences import differences
from scan42_jax.run_report.writing import RunReport
from scan42_jax.settings import Settings, adopt_encoder, from_json, to_json
from scan42_jax.train_step import TrainState, init_state
from scan42_jax.types import Films, Params
from scan42_jax.weights.initial import InitialWeights, load_initial
from scan42_jax.weights.placing import place_encoder

logger = logging.getLogger(__name__)

# Sections that shape the parameters: a checkpoint must agree in these.
_ARCHITECTURE = ("model", "separate_ibot_head", "dino_head", "ibot_head")
# Sections that may change from one call to the next without a word.
_HOUSEKEEPING = ("mesh", "loop", "drift", "init_from")


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  data_dir: pathlib.Path,
) -> signal.Signals | None:
  """Pretrains as the config says; goes on where an earlier call stopped.

  Args:
    config: see settings.py.
    workdir: gets checkpoints, metrics.jsonl, TensorBoard files, config.json
      and report.html.
    data_dir: prepared datasets.

  Returns:
    The signal that stopped the run early, None at its end.

  Raises:
    ValueError, OSError: one line about what is wrong and what to do.
    FloatingPointError: too many steps in a row were not finite.
  """
  settings = from_config(config)
  initial = load_initial(settings.init_from) if settings.init_from else None
  if initial:
    settings = adopt_encoder(settings, initial.config)
  mesh = make_training_mesh(settings)
  with contextlib.ExitStack() as stack:
    stack.enter_context(jax.set_mesh(mesh))
    run = Run(settings, mesh, initial=initial, data_dir=data_dir)
    signals = stack.enter_context(caught_signals())
    checkpoints = Checkpoints(workdir, keep=settings.loop.keep_checkpoints)
    stack.callback(checkpoints.close)
    state = run.restore(checkpoints)
    if jax.process_index() == 0:
      run.describe(workdir)
    telemetry.log_parameters(state.student)
    writer = telemetry.MetricWriter(workdir, active=jax.process_index() == 0)
    report = RunReport(
      workdir, settings, active=jax.process_index() == 0, say=_say
    )
    # Called in the other order: the page tells all that the writer wrote.
    stack.callback(report.close)
    stack.callback(writer.close)
    caretaker = Caretaker(
      workdir, hang_s=settings.loop.hang_s, facts=run.facts, say=_say
    )
    with caretaker:
      state = run.loop(
        state,
        checkpoints,
        writer,
        report=report,
        caretaker=caretaker,
        signals=signals,
      )
    if not signals and settings.loop.linear_probe:
      run.compare_with_start(state, workdir)
  return signals[0] if signals else None


class Run:
  """What one process needs to train: films, network, placement.

  Everything that a user may have got wrong fails here, before the first step.

  Args:
    settings: of the run.
    mesh: all devices of the run.
    initial: weights to start from, None for fresh ones.
    data_dir: prepared datasets.
  """

  def __init__(
    self,
    settings: Settings,
    mesh: Mesh,
    *,
    initial: InitialWeights | None,
    data_dir: pathlib.Path,
  ):
    self._settings, self._mesh, self._initial = settings, mesh, initial
    self._data_dir = data_dir
    data = settings.data
    self._sources = [
      open_films(data_dir, n, data.split, excluded_by=data.exclusions)
      for n in data.datasets
    ]
    self._mixture = Mixture(
      [len(source) for source in self._sources],
      seed=settings.seed,
      weights=data.weights,
    )
    self._rows = sharding.local_rows(mesh, settings.batch_size)
    self._broken = BrokenFilms(data.max_broken_films, say=_say)
    self._held_out = HeldOut(settings, mesh, data_dir=data_dir)
    self._net = settings.net()

  def start_student(self) -> Params:
    """Makes the parameters of step 0, each born where it lives."""
    places = state_shardings(self._settings, self._mesh).student
    key = jax.random.key(self._settings.seed)
    student = jax.jit(self._net.init, out_shardings=places)(key)
    if self._initial is not None:
      student, notes = place_encoder(student, self._initial)
      for note in notes:
        _say(note)
    return student

  def restore(self, checkpoints: Checkpoints) -> TrainState:
    """Returns the newest checkpoint's state, or that of step 0."""
    state = checkpoints.restore(self.template(), accept=self._accept)
    if state is not None:
      _say(f"resumed at step {int(state.step)}")
      return state
    return self.start()

  def template(self) -> TrainState:
    """Returns the state's shapes and places, to restore it into."""
    return jax.tree.map(
      lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
      state_shapes(self._settings),
      state_shardings(self._settings, self._mesh),
    )

  def start(self) -> TrainState:
    """Makes the state of step 0."""
    places = state_shardings(self._settings, self._mesh)
    optimizer = Optimizer(self._settings.optimizer)
    return jax.jit(
      functools.partial(init_state, self._net, optimizer), out_shardings=places
    )(self.start_student())

  def loop(
    self,
    state: TrainState,
    checkpoints: Checkpoints,
    writer: telemetry.MetricWriter,
    *,
    report: RunReport,
    caretaker: Caretaker,
    signals: list[signal.Signals],
  ) -> TrainState:
    """Trains to the last step or to a signal, whichever comes first."""
    settings, every = self._settings, self._settings.loop
    total, step = settings.schedule.total_steps, int(state.step)
    if step >= total:
      _say(f"nothing to do: all {total} steps are done")
      return state
    if self._initial is not None and every.monitor_every:
      self._held_out.remember_start(self.start_student()["encoder"])
    config = to_json(settings)
    train_step = compile_step(settings, self._mesh)
    progress = telemetry.Progress(
      total, batch_size=settings.batch_size, start_step=step
    )
    guard = SkipGuard(every.max_skipped_in_a_row, say=_say)
    with contextlib.closing(self.stream(step)) as stream:
      while step < total and not signals:
        caretaker.before(step + 1)
        asked = time.monotonic()
        films = next(stream)
        waited_s = time.monotonic() - asked
        report.see(films)
        films = self.place(films)
        state, metrics = train_step(state, films)
        step += 1
        caretaker.after(step, metrics)
        # Blocks until the step before this one is done: two are in flight.
        guard.check(step, metrics)
        progress.add(step, metrics, waited_s=waited_s)
        if step % every.log_every == 0 or step == total:
          values = progress.collect(step) | self._epochs(step)
          values |= compute.pace(settings, values["images_per_second"])
          values["broken_films"] = distributed.sum_over_processes(
            self._broken.count
          )
          writer.write(step, values)
          _say(progress.line(step, values))
        save = _is_time(step, every.checkpoint_every, total)
        if _is_time(step, every.monitor_every, total):
          save |= self._monitor(step, state, checkpoints, writer)
          if every.report_films:
            report.add_components(step, *self._held_out.look(state.teacher))
          report.refresh()
          progress.restart(step)
        if checkpoints.reached_preemption(step):
          signals.append(signal.SIGTERM)
        if save or signals:
          checkpoints.save(step, state, config)
          report.refresh()
          progress.restart(step)
    guard.finish()
    checkpoints.wait()
    if signals:
      _say(
        f"stopped by {signals[0].name} at step {step}, which is saved; run the"
        " same command to go on"
      )
    return state

  def compare_with_start(
    self, state: TrainState, workdir: pathlib.Path
  ) -> None:
    """Prints what a linear probe gains from the training, on test films."""
    result = self._held_out.compare(
      self.start_student()["encoder"], state.teacher["encoder"]
    )
    if jax.process_index() == 0:
      whole_files.write_text(
        workdir / "linear_probe.json", json.dumps(result, indent=1)
      )
    _say(
      "linear probe, macro AUROC on {test_films} test films of {test_patients}"
      " patients: {untrained:.3f} with the encoder it started from,"
      " {trained:.3f} with the trained one; gain {gain:.3f}, 95 % interval"
      " {gain_low:.3f} to {gain_high:.3f}".format(**result)
    )

  def describe(self, workdir: pathlib.Path) -> None:
    """Tells which films are trained on; stores that and the settings."""
    for source in self._sources:
      if source.num_excluded:
        _say(
          f"{source.name}: {len(source)} films of {source.split},"
          f" {source.num_excluded} left out by config.data.exclusions"
        )
    facts = [source.facts() for source in self._sources]
    path = workdir / "data.json"
    if path.exists() and json.loads(path.read_text()) != facts:
      _say("the films are others than before: the stream goes on in new order")
    whole_files.write_text(path, json.dumps(facts, indent=1) + "\n")
    text = json.dumps(to_json(self._settings), indent=1)
    whole_files.write_text(workdir / "config.json", text + "\n")

  def _epochs(self, step: int) -> dict[str, float]:
    """Says how often each dataset has been gone through."""
    epochs = self._mixture.epochs(step * self._settings.batch_size)
    return {
      f"epoch/{source.name}": epoch
      for source, epoch in zip(self._sources, epochs, strict=True)
    }

  def facts(self, step: int) -> dict[str, Any]:
    """Says in plain JSON what a step needs that its checkpoint lacks."""
    size = self._settings.batch_size
    places = [
      (index, *self._mixture.place(index))
      for index in range((step - 1) * size, step * size)
    ]
    return {
      "config": to_json(self._settings),
      "data_dir": str(self._data_dir.absolute()),
      "data": [source.facts() for source in self._sources],
      "films": [
        {"index": i, "dataset": self._sources[n].name, "position": position}
        for i, n, position in places
      ],
    }

  def stream(self, step: int) -> Iterator[Films]:
    """Yields this process's films of all steps after `step`."""
    data = self._settings.data
    return training_films(
      self._sources,
      canvas_px=data.canvas_px,
      batch_size=self._settings.batch_size,
      seed=self._settings.seed,
      equalize=data.equalize,
      weights=data.weights,
      start_step=step,
      rows=self._rows,
      broken=self._broken,
      num_threads=data.num_threads,
    )

  def place(self, films: Films) -> Films:
    """Makes one global batch of every process's share."""
    return sharding.place_rows(
      self._mesh, self._rows, self._settings.batch_size, films
    )

  def _monitor(
    self,
    step: int,
    state: TrainState,
    checkpoints: Checkpoints,
    writer: telemetry.MetricWriter,
  ) -> bool:
    """Measures the teacher; True asks for a checkpoint of a good step.

    Raises:
      ValueError: it has drifted too far and the settings say to stop.
    """
    values = self._held_out.monitor(
      state.teacher, center=state.centers["dino"], step=step
    )
    writer.write(step, {f"held_out/{k}": v for k, v in values.items()})
    _say(
      f"step {step} held-out films: "
      + " ".join(f"{name} {value:.3f}" for name, value in values.items())
    )
    if "cka_to_start" not in values:
      return False
    problem = drift_problem(values, self._settings.drift)
    if problem is None:
      checkpoints.mark_good(step)
      return True
    good = checkpoints.good_step
    problem = f"step {step}: {problem}; the last good checkpoint is " + (
      "that of the starting weights" if good is None else f"step {good}"
    )
    if self._settings.drift.action == "stop":
      raise ValueError(
        f"{problem}: go on from it in a new --workdir, with"
        " --config.init_from=WORKDIR/checkpoints/STEP and a lower"
        " config.schedule.learning_rate"
      )
    _say(f"warning: {problem}")
    return False

  def _accept(self, stored: dict[str, Any]) -> None:
    """Refuses a checkpoint of another architecture; tells what else differs."""
    changes = differences(to_json(from_json(stored)), to_json(self._settings))
    for name, (theirs, ours) in changes.items():
      if name.removeprefix("model.") in WAYS_TO_COMPUTE:
        continue
      if name.split(".")[0] in _ARCHITECTURE:
        raise ValueError(
          f"the checkpoint is of another architecture: config.{name} is"
          f" {theirs} there and {ours} here; use the config that made it or"
          " another --workdir"
        )
      if name.split(".")[0] not in _HOUSEKEEPING:
        _say(f"config.{name} was {theirs} before and is {ours} from here on")


def _is_time(step: int, every: int, total: int) -> bool:
  """Whether something is due that happens every so often and at the end."""
  return every > 0 and (step % every == 0 or step == total)


def _say(line: str) -> None:
  """Tells the user; one process speaks for all."""
  if jax.process_index() == 0:
    print(line, flush=True)
