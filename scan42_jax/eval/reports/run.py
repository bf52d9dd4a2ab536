"""The whole evaluation: films and texts in; trained writer, texts, scores out.

Only sequences; whatever was finished before is not done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from scan42_jax.data.sources import FilmSource, open_films
from scan42_jax.encoder import Encoder
from scan42_jax.eval.reports import pairs, scoring, training
from scan42_jax.eval.reports.building import Sight, build
from scan42_jax.eval.reports.generation import Generator, write_all
from scan42_jax.eval.reports.pairs import Pair, Pairs
from scan42_jax.eval.reports.patches import (
  FilmPatches,
  Seen,
  StoredPatches,
  stored_gib,
)
from scan42_jax.eval.reports.reporter import save_reporter
from scan42_jax.eval.reports.samples import Samples
from scan42_jax.eval.reports.settings import ReportSettings
from scan42_jax.eval.reports.writer import Writer, longest_row
from scan42_jax.settings import to_json
from scan42_jax.sharding import BATCH_AXES

_BLANK_PX = 512


@dataclasses.dataclass(frozen=True)
class Split:
  """Films of a split, their texts and what is shown of the films."""

  source: FilmSource
  pairs: Pairs
  films: FilmPatches
  seen: Seen


@dataclasses.dataclass(frozen=True)
class Splits:
  """Films to learn from, to choose by, and to write about."""

  train: Split
  validation: Split
  test: Split


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What an evaluation works with.

  Attributes:
    settings: see ReportSettings.
    encoder: that the decoder looks through.
    encoder_name: as the user gave it.
    encoder_sha256: of its weights.
    mesh: that decoder and batches are split over.
    data_dir: folder of the prepared datasets.
    workdir: of everything that is made.
    say: takes a line for the user.
    language_model: folder of the language model, if one is asked for.
  """

  settings: ReportSettings
  encoder: Encoder
  encoder_name: str
  encoder_sha256: str
  mesh: Mesh
  data_dir: pathlib.Path
  workdir: pathlib.Path
  say: Callable[[str], None]
  language_model: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What an evaluation came to.

  Attributes:
    splits: films and texts.
    writer: what wrote.
    params: its parameters.
    texts: what the texts were made from -> texts in the order of test's pairs.
    scores: of the texts.
    facts: of training and generation, JSON values.
  """

  splits: Splits
  writer: Writer
  params: Any
  texts: Mapping[str, Sequence[str]]
  scores: scoring.Scores
  facts: Mapping[str, Any]


def evaluate(run: Evaluation) -> Outcome:
  """Trains, writes and scores.

  Raises:
    ValueError, FileNotFoundError: of settings, data or work folder; one line.
    Interrupted, Stopped: a signal came; run again to go on.
  """
  settings = run.settings
  shards = math.prod(run.mesh.shape[axis] for axis in BATCH_AXES)
  if settings.training.batch_size % shards:
    raise ValueError(
      f"config.training.batch_size={settings.training.batch_size} does not"
      f" divide over {shards} devices"
    )
  splits = open_splits(run)
  learns = settings.training.trains_encoder
  sight = Sight(splits.train.films.grid(), run.encoder.config.width)
  writer, params = build(
    settings,
    splits.train.pairs.pairs,
    mesh=run.mesh,
    sight=sight,
    workdir=run.workdir,
    folder=run.language_model,
    encoder=run.encoder if learns else None,
  )
  params, facts = _train(run, splits, writer, params)
  texts, speed = _write(run, splits, writer, params, facts)
  scores = scoring.score(
    splits.test.pairs.pairs,
    texts,
    cleaning=settings.text.cleaning,
    draws=settings.score.draws,
    seed=settings.seed,
    phantom=settings.text.dataset == "phantom",
  )
  save_reporter(
    run.workdir,
    run.encoder,
    params,
    settings=settings,
    sight=sight,
    language_model=run.language_model,
  )
  return Outcome(
    splits, writer, params, texts, scores, {"training": facts, **speed}
  )


def open_splits(run: Evaluation) -> Splits:
  """Opens the three splits, checks them, and encodes their films.

  Raises:
    ValueError: no texts, a patient in two splits, or films that the encoder
      does not want.
  """
  text = run.settings.text
  found = {}
  for name in (text.train_split, text.validation_split, text.test_split):
    source = open_films(run.data_dir, text.dataset, name)
    there = pairs.read_pairs((source[i] for i in range(len(source))), text)
    if text.unit == "study" and name != text.train_split:
      there = pairs.one_film_a_study(there)
    counts = ", ".join(f"{n} {what}" for what, n in there.counts.items())
    run.say(f"{text.dataset} {name}: {len(there.pairs)} pairs ({counts})")
    found[name] = source, there, _films(run, source)
  pairs.check_apart({name: there for name, (_, there, _) in found.items()})
  # Only once every split is known to be sound, for this takes time.
  return Splits(
    *(
      Split(source, there, films, _seen(run, films, there))
      for source, there, films in found.values()
    )
  )


def _films(run: Evaluation, source: FilmSource) -> FilmPatches:
  return FilmPatches(
    run.encoder, source, prepared=run.settings.training.trains_encoder
  )


def _seen(run: Evaluation, films: FilmPatches, there: Pairs) -> Seen:
  """What is shown of films, from disk where it fits."""
  number = 1 + max(pair.film for pair in there.pairs)
  gib = stored_gib(films, number=number)
  if gib > run.settings.cache_gib:
    run.say(
      f"what is shown of {films.source.split} would take {gib:.0f} GiB: it is"
      " made anew in every step (config.cache_gib)"
    )
    return films
  return StoredPatches(
    films,
    run.workdir / "patches" / f"{films.source.split}.npy",
    number=number,
    identity=f"{run.encoder_sha256} {run.encoder.preprocessing}"
    f" {films.show.dtype.__name__} {films.source.facts()}",
    say=run.say,
  )


def _identity(run: Evaluation, splits: Splits) -> dict[str, Any]:
  """What a checkpoint depends on, JSON values."""
  kept = to_json(run.settings)
  for name in ("score", "cache_gib", "mesh", "decoding"):
    kept.pop(name)
  for name in ("log_every", "samples"):
    kept["training"].pop(name)
  return {
    **kept,
    "encoder_sha256": run.encoder_sha256,
    "preprocessing": str(run.encoder.preprocessing),
    "films": [
      split.source.facts()
      for split in (splits.train, splits.validation, splits.test)
    ],
  }


def _train(
  run: Evaluation, splits: Splits, writer: Writer, params: Any
) -> tuple[Any, dict[str, Any]]:
  train, validation = splits.train, splits.validation
  both = [*train.pairs.pairs, *validation.pairs.pairs]
  length, cut = longest_row(writer, both)
  if cut:
    run.say(
      f"{cut} reports are longer than {writer.max_report_tokens} tokens and are"
      " cut in training (config.text.max_report_tokens)"
    )
  course = training.Course(
    writer=writer,
    train=training.Material(train.pairs.pairs, train.seen, length),
    validation=training.Material(
      validation.pairs.pairs, validation.seen, length
    ),
    settings=run.settings.training,
    seed=run.settings.seed,
    mesh=run.mesh,
    workdir=run.workdir,
    config=_identity(run, splits),
    sample=_samples(run, splits.validation, writer, params),
    say=run.say,
  )
  params, facts = training.train(course, params)
  return params, {**facts, "cut_reports": cut, "row_tokens": length}


def _write(
  run: Evaluation, splits: Splits, writer: Writer, params: Any, trained: dict
) -> tuple[dict[str, list[str]], dict[str, Any]]:
  """Writes about the films, about other films, and about none."""
  settings, test = run.settings, splits.test
  known = test.pairs.pairs
  generator = _generator(
    run, writer, params, pairs=known, batch_size=settings.training.batch_size
  )
  places = np.array([pair.film for pair in known])
  other = places[scoring.shuffled(known, seed=settings.seed)]
  blank = test.films.show([np.zeros((_BLANK_PX, _BLANK_PX), np.uint8)])
  sources: dict[str, Seen] = {
    scoring.FILMS: lambda rows: test.seen(places[rows]),
    scoring.SHUFFLED: lambda rows: test.seen(other[rows]),
    scoring.BLANK: lambda rows: np.repeat(blank, len(rows), axis=0),
  }
  depends = [_identity(run, splits), to_json(settings.decoding), trained]
  identity = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
  texts = {
    name: write_all(
      generator,
      known,
      seen,
      path=run.workdir / "texts" / f"{name.replace(' ', '_')}.jsonl",
      identity=identity,
      say=run.say,
    )
    for name, seen in sources.items()
  }
  frequent = scoring.most_frequent(splits.train.pairs.pairs)
  texts[scoring.FREQUENT] = [frequent] * len(known)
  return texts, {"seconds_per_text": generator.seconds_per_text}


def _generator(
  run: Evaluation,
  writer: Writer,
  params: Any,
  *,
  pairs: Sequence[Pair],
  batch_size: int,
) -> Generator:
  return Generator(
    writer,
    params,
    settings=run.settings.decoding,
    mesh=run.mesh,
    batch_size=batch_size,
    prompt_length=max(len(writer.prompt(p.indication)) for p in pairs),
    seed=run.settings.seed,
  )


def _samples(
  run: Evaluation, split: Split, writer: Writer, params: Any
) -> Samples | None:
  pairs = split.pairs.pairs[: run.settings.training.samples]
  if not pairs:
    return None
  shards = math.prod(run.mesh.shape[axis] for axis in BATCH_AXES)
  generator = _generator(
    run,
    writer,
    params,
    pairs=pairs,
    batch_size=-(-len(pairs) // shards) * shards,
  )
  return Samples(generator, pairs, split.seen([pair.film for pair in pairs]))
