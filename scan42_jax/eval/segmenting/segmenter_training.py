"""Trains a segmentation head, the best of its steps by validation Dice."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from scan42_jax.encoder import Encoder
from scan42_jax.eval.best_step import LoopSettings, Trained, train_to_best
from scan42_jax.eval.finetune import first_difference
from scan42_jax.eval.segmenting.mask_settings import SegmentationSettings
from scan42_jax.eval.segmenting.masked_films import (
  MaskedBatch,
  MaskedSplits,
  evaluation_batches,
  training_batches,
)
from scan42_jax.eval.segmenting.segmenter import Segmenter, films_at_once
from scan42_jax.eval.segmenting.segmenter_step import (
  SegmenterState,
  SegmenterStep,
)
from scan42_jax.metrics.overlap import dice
from scan42_jax.sharding import batch_sharding, replicated
from scan42_jax.weights.digest import weights_sha256


@dataclasses.dataclass(frozen=True)
class TrainedSegmenter:
  """What training came to.

  Attributes:
    segmenter: encoder and head of the best step.
    step: this step.
    dice: mean over structures on validation there, at the encoder's input.
    encoder_sha256: of the encoder that training began with.
  """

  segmenter: Segmenter
  step: int
  dice: float
  encoder_sha256: str


class SegmenterTraining:
  """One run.

  Args:
    encoder: to start from, with films prepared as it shall see them.
    splits: films.
    settings: of the evaluation.
    folder: gets checkpoints, the best one, metrics.jsonl, TensorBoard files.
    say: takes lines for the user.

  Raises:
    ValueError: the batch does not divide over the devices.
  """

  def __init__(
    self,
    encoder: Encoder,
    splits: MaskedSplits,
    *,
    settings: SegmentationSettings,
    folder: pathlib.Path,
    say: Callable[[str], None] = print,
  ):
    self._encoder, self._splits, self._settings = encoder, splits, settings
    self._folder, self._say = folder, say
    devices = encoder.mesh.size
    if settings.train.batch_size % devices:
      raise ValueError(
        f"config.segmentation.train.batch_size={settings.train.batch_size} does"
        f" not divide over {devices} devices"
      )
    self._step = SegmenterStep(
      config=encoder.config,
      dtype=encoder.dtype,
      preprocessing=encoder.preprocessing,
      settings=settings,
    )
    everywhere = replicated(encoder.mesh)
    self._count = jax.jit(self._step.counts, out_shardings=everywhere)
    self._train = jax.jit(
      self._step, out_shardings=everywhere, donate_argnums=0
    )

  def run(self, signals: list[Any]) -> TrainedSegmenter | None:
    """Trains; see `train_to_best`. None where a signal ended it."""
    s = self._settings.train
    state = train_to_best(
      Trained(
        start=self._start,
        train=lambda state, batch: self._train(
          state, self._encoder.params, batch
        ),
        batches=self._batches,
        judge=self._judge,
        config=self._identity(),
        accept=self._accept,
      ),
      LoopSettings(
        steps=s.steps,
        evaluate_every=s.evaluate_every,
        patience=s.patience,
        batch_size=s.batch_size,
        judged="validation_dice",
      ),
      folder=self._folder,
      signals=signals,
      say=self._say,
    )
    if state is None:
      return None
    adapted = dataclasses.replace(
      self._encoder, params=state.params.get("encoder", self._encoder.params)
    )
    segmenter = Segmenter(
      encoder=adapted,
      head=self._settings.head,
      params=state.params["head"],
      structures=self._settings.data.structures,
    )
    return TrainedSegmenter(
      segmenter,
      step=int(state.step),
      dice=float(state.best),
      encoder_sha256=self._encoder_sha256,
    )

  def _start(self) -> SegmenterState:
    state = self._step.start(self._encoder.params)
    return jax.device_put(state, replicated(self._encoder.mesh))

  def _batches(self, step: int) -> Iterator[MaskedBatch]:
    place = batch_sharding(self._encoder.mesh)
    batches = training_batches(
      self._splits.train,
      self._encoder.preprocessing,
      batch_size=self._settings.train.batch_size,
      seed=self._settings.seed,
      start_step=step,
      num_threads=self._settings.data.num_threads,
    )
    try:
      yield from (jax.device_put(batch, place) for batch in batches)
    finally:
      batches.close()

  def _judge(self, state: SegmenterState) -> float:
    """Mean over structures of the Dice pooled over validation films."""
    place = batch_sharding(self._encoder.mesh)
    total = 0
    for batch, _ in evaluation_batches(
      self._splits.validation,
      self._encoder.preprocessing,
      batch_size=films_at_once(self._encoder),
      num_threads=self._settings.data.num_threads,
    ):
      placed = jax.device_put(batch, place)
      counts = self._count(self._encoder.params, state.params, placed)
      # Of 64 bits on the host: a validation set has more pixels than 32 hold.
      total = total + np.asarray(counts).astype(np.int64).sum(axis=0)
    return float(dice(total)[1:].mean())

  def _identity(self) -> dict[str, Any]:
    """All that the trained numbers depend on, as plain JSON."""
    s = self._settings
    parts = {
      name: dataclasses.asdict(getattr(s, name))
      for name in ("data", "head", "train", "views")
    }
    del parts["data"]["num_threads"]
    identity = {
      "seed": s.seed,
      "dtype": s.dtype,
      **parts,
      "encoder": self._encoder_sha256,
      "films": self._splits.train.source.manifest_sha256,
    }
    return json.loads(json.dumps(identity))

  @functools.cached_property
  def _encoder_sha256(self) -> str:
    return weights_sha256(self._encoder.params)

  def _accept(self, stored: dict[str, Any]) -> None:
    """Refuses checkpoints of a run that learns otherwise."""
    other = first_difference(stored, self._identity(), "segmentation")
    if other:
      raise ValueError(
        f"{self._folder} holds a training with another {other}; use its config,"
        " encoder and data, or another --workdir"
      )
