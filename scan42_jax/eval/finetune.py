"""Encoder and head trained together, the best of them by validation.

The loop trains, looks at validation now and then, keeps the best, stops early
and goes on after a kill where it was. Learning rates and decays are path rules
of optim.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.checkpoint import Checkpoints
from scan42_jax.data.mixture import Mixture
from scan42_jax.data.pipeline import training_films
from scan42_jax.eval.finetune_step import (
  FinetuneState,
  FinetuneStep,
  LabelledFilms,
)
from scan42_jax.eval.frozen import judge
from scan42_jax.eval.heads import FeatureSet, LinearHead
from scan42_jax.eval.scored import Scored
from scan42_jax.eval.settings import EvalSettings
from scan42_jax.eval.splits import LabelledSplit, Splits
from scan42_jax.eval.token_cache import (
  TokenReader,
  check_equalized,
  prepared_batches,
)
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.sharding import batch_sharding, replicated
from scan42_jax.telemetry import MetricWriter
from scan42_jax.types import Films, Float, Params

_FOLDER, _BEST = "finetune", "best"


@dataclasses.dataclass(frozen=True)
class Finetuned:
  """What training came to, all of it of the best step.

  Attributes:
    encoder: its parameters.
    head: on its tokens.
    validation: films that chose the step, with scores.
    test: test films with scores.
    step: where it was best.
    value: mean on validation there.
  """

  encoder: Params
  head: LinearHead
  validation: Scored
  test: Scored
  step: int
  value: float


class Finetuning:
  """One run.

  Args:
    reader: the encoder to start from, and how films are prepared for it.
    splits: films.
    settings: of the evaluation.
    workdir: gets checkpoints, the best one, metrics.jsonl, TensorBoard files.
    say: takes lines for the user.

  Raises:
    ValueError: the batch does not divide over the devices.
  """

  def __init__(
    self,
    reader: TokenReader,
    splits: Splits,
    *,
    settings: EvalSettings,
    workdir: pathlib.Path,
    say: Callable[[str], None] = print,
  ):
    self._reader, self._splits, self._settings = reader, splits, settings
    self._workdir, self._say = workdir, say
    self._mesh = reader.encoder.mesh
    if settings.finetune.batch_size % self._mesh.size:
      raise ValueError(
        f"config.finetune.batch_size={settings.finetune.batch_size} does not"
        f" divide over {self._mesh.size} devices"
      )
    for split in splits:
      check_equalized(split.source, reader.encoder)
    encoder = reader.encoder
    self._step = FinetuneStep(
      net=VisionTransformer(encoder.config, encoder.dtype),
      layers=reader.layers,
      preprocessing=encoder.preprocessing,
      settings=settings,
    )
    everywhere = replicated(self._mesh)
    self._score = jax.jit(self._step.logits, out_shardings=everywhere)
    self._train = jax.jit(
      self._step, out_shardings=everywhere, donate_argnums=0
    )

  def run(self, signals: list[Any]) -> Finetuned | None:
    """Trains to the end, to an early stop or to a signal.

    Returns:
      None where a signal ended it; the same call then goes on.

    Raises:
      ValueError: the work folder holds a run with other settings.
      FloatingPointError: the loss is not finite.
    """
    with contextlib.ExitStack() as stack:
      folder = self._workdir / _FOLDER
      checkpoints = Checkpoints(folder, keep=1)
      stack.callback(checkpoints.close)
      best = Checkpoints(folder / _BEST, keep=1)
      stack.callback(best.close)
      writer = MetricWriter(self._workdir)
      stack.callback(writer.close)
      state = checkpoints.restore(self._template(), self._accept)
      if state is None:
        state = self._start()
      else:
        self._say(f"resumed at step {int(state.step)}")
      state = self._loop(state, checkpoints, best, writer, signals)
      last = int(state.step) >= self._settings.finetune.steps
      if not last and not self._is_stale(state):
        return None
      best.wait()
      state = best.restore(self._template(), self._accept)
    return self._finish(state)

  def _loop(self, state, checkpoints, best, writer, signals) -> FinetuneState:
    s = self._settings.finetune
    config = dataclasses.asdict(self._settings)
    losses, started, step = [], time.monotonic(), int(state.step)
    stale = self._is_stale(state)
    with contextlib.closing(self._stream(step)) as films:
      batches = self._batches(films)
      while not signals and step < s.steps and not stale:
        state, loss = self._train(state, next(batches))
        losses.append(loss)
        step += 1
        if step % s.evaluate_every == 0 or step == s.steps:
          loss = float(np.mean(jax.device_get(losses)))
          rate = len(losses) * s.batch_size / (time.monotonic() - started)
          pace = {"loss": loss, "images_per_second": rate}
          state = self._look(state, pace, writer, best, config)
          stale = self._is_stale(state)
          checkpoints.save(step, state, config)
          losses, started = [], time.monotonic()
    if signals:
      # What is not saved yet is trained again, to the same numbers.
      self._say(
        f"stopped by {signals[0].name} at step {step}; run the same"
        " command to go on"
      )
    checkpoints.wait()
    return state

  def _look(self, state, pace, writer, best, config) -> FinetuneState:
    """Judges the state on validation; keeps it if it is the best so far."""
    step = int(state.step)
    if not math.isfinite(pace["loss"]):
      raise FloatingPointError(
        f"the loss is not finite before step {step}: lower"
        " config.finetune.encoder_learning_rate and head_learning_rate"
      )
    split = self._splits.validation
    value = judge(
      split.known, self._scores(state.params, split), self._settings
    )
    if math.isnan(value):
      raise ValueError(
        "no label has both positives and negatives among the validation films"
      )
    better = np.float32(value) > float(state.best)
    state = state.replace(
      best=jnp.float32(max(value, float(state.best))),
      looks_since=jnp.int32(0 if better else int(state.looks_since) + 1),
    )
    if better:
      best.save(step, state, config)
    name = f"validation_{self._settings.metric}"
    writer.write(step, pace | {name: value})
    self._say(
      f"step {step}/{self._settings.finetune.steps} loss {pace['loss']:.4f}"
      f" {name} {value:.4f}{' (best so far)' if better else ''},"
      f" {pace['images_per_second']:.1f} images/s"
    )
    return state

  def _is_stale(self, state: FinetuneState) -> bool:
    return int(state.looks_since) >= self._settings.finetune.patience

  def _finish(self, state: FinetuneState) -> Finetuned:
    exclusive = self._settings.data.exclusive
    validation, test = (
      Scored.from_logits(
        split.known, self._scores(state.params, split), exclusive=exclusive
      )
      for split in (self._splits.validation, self._splits.test)
    )
    kernel, bias = (
      np.asarray(state.params["head"][name]) for name in ("kernel", "bias")
    )
    return Finetuned(
      encoder=state.params["encoder"],
      head=LinearHead(FeatureSet(self._reader.layers, True), kernel, bias),
      validation=validation,
      test=test,
      step=int(state.step),
      value=float(state.best),
    )

  def _start(self) -> FinetuneState:
    labels = len(self._splits.train.known.label_names)
    state = self._step.start(self._reader.encoder.params, labels=labels)
    return jax.device_put(state, replicated(self._mesh))

  def _template(self) -> FinetuneState:
    everywhere = replicated(self._mesh)
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere),
      jax.eval_shape(self._start),
    )

  def _scores(
    self, params: Params, split: LabelledSplit
  ) -> Float[np.ndarray, "N C"]:
    """Scores every film of a split, prepared as for any frozen encoder."""
    size, rows = self._reader.batch_size, []
    for pixels in prepared_batches(self._reader, split.source):
      filler = np.repeat(pixels[-1:], size - len(pixels), axis=0)
      placed = jax.device_put(
        np.concatenate([pixels, filler]), batch_sharding(self._mesh)
      )
      rows.append(np.asarray(self._score(params, placed))[: len(pixels)])
    return np.concatenate(rows)

  def _stream(self, step: int) -> Iterator[Films]:
    data = self._settings.data
    return training_films(
      [self._splits.train.source],
      canvas_px=data.canvas_px,
      batch_size=self._settings.finetune.batch_size,
      seed=self._settings.seed,
      equalize=self._reader.encoder.preprocessing.equalize,
      start_step=step,
      num_threads=data.num_threads,
    )

  def _batches(self, films: Iterator[Films]) -> Iterator[LabelledFilms]:
    """Adds its labels to each film, by its place in the stream."""
    known = self._splits.train.known
    stream = Mixture([len(known)], seed=self._settings.seed)
    place = batch_sharding(self._mesh)
    for batch in films:
      rows = [stream.place(int(index))[1] for index in batch.index]
      labelled = LabelledFilms(batch, known.labels[rows], known.valid[rows])
      yield jax.device_put(labelled, place)

  def _accept(self, stored: dict[str, Any]) -> None:
    """Refuses checkpoints of a run that learns otherwise."""
    ours = dataclasses.asdict(self._settings)
    for name in ("seed", "metric", "dtype", "data", "features", "finetune"):
      other = first_difference(stored[name], _plain(ours[name]), name)
      if other:
        raise ValueError(
          f"{self._workdir} holds a fine-tuning with another config.{other};"
          " use its config or another --workdir"
        )


def first_difference(before: Any, now: Any, name: str) -> str | None:
  """Returns the dotted name of the first leaf that differs, None if none."""
  if isinstance(before, dict) and isinstance(now, dict):
    for key in now:
      found = first_difference(before.get(key), now[key], f"{name}.{key}")
      if found:
        return found
    return None
  return None if before == now else name


def _plain(value: Any) -> Any:
  """Tuples as lists, as JSON gives them back."""
  if isinstance(value, dict):
    return {k: _plain(v) for k, v in value.items()}
  return [_plain(v) for v in value] if isinstance(value, tuple) else value
