"""Encoder and head trained together, the best of them by validation.

What is trained and how it is judged; best_step.py has the loop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from scan42_jax.data.mixture import Mixture
from scan42_jax.data.pipeline import training_films
from scan42_jax.eval.best_step import LoopSettings, Trained, train_to_best
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
from scan42_jax.types import Films, Float, Params

_FOLDER = "finetune"


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
    workdir: its `finetune/` gets checkpoints, metrics.jsonl and TensorBoard
      files.
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
    s = self._settings.finetune
    state = train_to_best(
      Trained(
        start=self._start,
        train=self._train,
        batches=self._batches,
        judge=self._judge,
        config=dataclasses.asdict(self._settings),
        accept=self._accept,
      ),
      LoopSettings(
        steps=s.steps,
        evaluate_every=s.evaluate_every,
        patience=s.patience,
        batch_size=s.batch_size,
        judged=f"validation_{self._settings.metric}",
      ),
      folder=self._workdir / _FOLDER,
      signals=signals,
      say=self._say,
    )
    return None if state is None else self._finish(state)

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

  def _judge(self, state: FinetuneState) -> float:
    split = self._splits.validation
    scores = self._scores(state.params, split)
    value = judge(split.known, scores, self._settings)
    if math.isnan(value):
      raise ValueError(
        "no label has both positives and negatives among the validation films"
      )
    return value

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

  def _batches(self, step: int) -> Iterator[LabelledFilms]:
    """Yields films with their labels from a step on, placed on the devices."""
    known = self._splits.train.known
    stream = Mixture([len(known)], seed=self._settings.seed)
    place = batch_sharding(self._mesh)
    with contextlib.closing(self._films(step)) as films:
      for batch in films:
        rows = [stream.place(int(index))[1] for index in batch.index]
        labelled = LabelledFilms(batch, known.labels[rows], known.valid[rows])
        yield jax.device_put(labelled, place)

  def _films(self, step: int) -> Iterator[Films]:
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
