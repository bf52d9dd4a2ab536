"""One segmentation from films to results: train, score, write.

Only puts the parts next door in order; flags are segmentation.py's.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time
from typing import Any

import numpy as np

from scan42_jax.eval.encoders import RANDOM, leakage_note, open_encoder
from scan42_jax.eval.results.provenance import provenance
from scan42_jax.eval.results.writing import Results, write_results
from scan42_jax.eval.segmenting import mask_report as report
from scan42_jax.eval.segmenting.film_view import set_view
from scan42_jax.eval.segmenting.mask_files import MaskWriter
from scan42_jax.eval.segmenting.mask_scores import (
  MaskScores,
  mean_training_mask,
  score_films,
  write_mask_scores,
)
from scan42_jax.eval.segmenting.mask_settings import (
  SegmentationSettings,
)
from scan42_jax.eval.segmenting.masked_films import MaskedSplits, open_masked
from scan42_jax.eval.segmenting.segmenter import (
  Segmenter,
  films_at_once,
  save_segmenter,
)
from scan42_jax.eval.segmenting.segmenter_training import (
  SegmenterTraining,
  TrainedSegmenter,
)
from scan42_jax.eval.token_cache import check_equalized
from scan42_jax.pages.page import text_table

_RANDOM_ROW, _MEAN_ROW = "random encoder", "mean training mask"
_PREDICTIONS = "predictions.csv"


def evaluate(
  settings: SegmentationSettings,
  source: str,
  *,
  workdir: pathlib.Path,
  data_dir: pathlib.Path,
  signals: list[Any],
) -> dict[str, MaskScores] | None:
  """Trains a head, scores it on the test films and writes the results.

  Args:
    settings: of the evaluation.
    source: see `open_encoder`.
    workdir: gets predictions.csv, metrics.json, results.md, report.html,
      figures/, masks/, the model, and checkpoints.
    data_dir: prepared datasets.
    signals: grows by the signals that ask for an early end.

  Returns:
    Scores of the test films by row of the tables; None where a signal ended
    the run.

  Raises:
    ValueError, OSError: one line about what is wrong and what to do.
  """
  started = time.monotonic()
  splits = open_masked(settings.data, data_dir)
  run = functools.partial(_train, splits, settings, signals=signals)
  ours = run(source, workdir / "training")
  if ours is None:
    return None
  save_segmenter(workdir, ours.segmenter)
  score = functools.partial(_score, splits, settings)
  scores = {report.OURS: score(ours.segmenter, workdir)}
  if settings.report.random_encoder and not source.startswith(RANDOM):
    fresh = run(f"{RANDOM}{source}", workdir / "random_encoder")
    if fresh is None:
      return None
    scores[_RANDOM_ROW] = score(fresh.segmenter, workdir / "random_encoder")
  how = ours.segmenter.encoder.preprocessing
  shares, mean_of = mean_training_mask(
    splits.train, side=how.resize_px, whole=how.squash
  )
  scores[_MEAN_ROW] = score_films(
    splits.test,
    lambda pixels: np.broadcast_to(shares, (len(pixels), *shares.shape)),
    how,
    settings=settings.report,
    batch_size=films_at_once(ours.segmenter.encoder),
    num_threads=settings.data.num_threads,
  )
  results = _results(
    settings,
    ours,
    scores,
    splits,
    leakage=leakage_note(source, splits.test.source),
    mean_of=mean_of,
    started=started,
  )
  write_results(workdir, results)
  print(text_table(results.tables[0]))
  print(f"results in {workdir}", flush=True)
  return scores


def _train(
  splits: MaskedSplits,
  settings: SegmentationSettings,
  source: str,
  folder: pathlib.Path,
  *,
  signals: list[Any],
) -> TrainedSegmenter | None:
  encoder = set_view(
    open_encoder(source, dtype=settings.dtype, seed=settings.seed),
    size_px=settings.data.size_px,
    view=settings.data.view,
  )
  for films in splits:
    check_equalized(films.source, encoder)
  print(encoder, flush=True)
  training = SegmenterTraining(
    encoder, splits, settings=settings, folder=folder
  )
  return training.run(signals)


def _score(
  splits: MaskedSplits,
  settings: SegmentationSettings,
  segmenter: Segmenter,
  folder: pathlib.Path,
) -> MaskScores:
  """Scores the test films; writes predictions.csv, and masks if asked to."""
  score = functools.partial(
    score_films,
    splits.test,
    segmenter.logits,
    segmenter.encoder.preprocessing,
    settings=settings.report,
    batch_size=films_at_once(segmenter.encoder),
    num_threads=settings.data.num_threads,
  )
  if settings.report.write_masks:
    with MaskWriter(folder / "masks", segmenter.structures) as writer:
      scores = score(
        keep=lambda film, classes: writer.write(film.image_id, classes)
      )
  else:
    scores = score()
  write_mask_scores(folder / _PREDICTIONS, scores)
  return scores


def _results(
  settings: SegmentationSettings,
  ours: TrainedSegmenter,
  scores: dict[str, MaskScores],
  splits: MaskedSplits,
  *,
  leakage: str,
  mean_of: int,
  started: float,
) -> Results:
  encoder, test = ours.segmenter.encoder, splits.test
  judged, differences = report.judge_rows(scores, settings)
  made = _provenance(settings, ours, splits)
  made["seconds"] = round(time.monotonic() - started)
  weights = "fine-tuned" if settings.train.train_encoder else "frozen"
  notes = report.notes(splits, settings, leakage=leakage, mean_of=mean_of)
  return Results(
    title=f"{settings.data.dataset}: {settings.head.kind} masks on"
    f" {encoder.source}",
    row={
      "dataset": settings.data.dataset,
      "encoder": encoder.source,
      "protocol": f"{settings.head.kind}, {encoder.preprocessing.resize_px} px",
      "weights": weights,
      "scored at": settings.report.score_at,
      "test films": str(len(test)),
      "patients": str(test.num_patients or "unknown"),
      **report.headline(judged[0]),
      "seconds": str(made["seconds"]),
    },
    metrics={
      "task": "segmentation",
      "chosen": {"step": ours.step, "validation_dice": ours.dice},
      "figures": [
        {"row": j.name, "kind": kind, "name": name, **dataclasses.asdict(value)}
        for j in judged
        for (kind, name), value in j.figures.items()
      ],
      "differences": differences,
      "notes": notes,
    },
    provenance=made,
    tables=report.tables(judged, differences),
    figures=[
      *report.overlays(
        scores[report.OURS],
        test,
        lambda film: ours.segmenter.segment(
          film.pixels,
          shape=film.labels.shape,
          equalized=test.source.equalized,
        ),
      ),
      *report.charts(judged),
    ],
    notes=notes,
  )


def _provenance(
  settings: SegmentationSettings, ours: TrainedSegmenter, splits: MaskedSplits
) -> dict[str, Any]:
  source = splits.test.source
  return provenance(
    "scan42_jax.eval.segmentation",
    config=dataclasses.asdict(settings),
    encoder=str(ours.segmenter.encoder),
    encoder_sha256=ours.encoder_sha256,
    data={source.name: source.manifest_sha256},
    seed=settings.seed,
  )
