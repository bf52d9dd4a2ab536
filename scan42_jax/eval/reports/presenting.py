"""Writes what an evaluation leaves behind: tables, texts, cases, JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from scan42_jax.data.images import encode_film, shrink
from scan42_jax.eval.encoders import leakage_note
from scan42_jax.eval.reports import attention, files, scoring
from scan42_jax.eval.reports.cases import Case, render_cases
from scan42_jax.eval.reports.run import Evaluation, Outcome
from scan42_jax.eval.reports.writer import report_tokens
from scan42_jax.eval.results.provenance import provenance
from scan42_jax.eval.results.writing import Results, write_results
from scan42_jax.metrics.bootstrap import Estimate
from scan42_jax.metrics.text import TextScores
from scan42_jax.pages.charts import Bar, bar_chart
from scan42_jax.pages.page import Figure, Table
from scan42_jax.settings import to_json

CASES = "cases.html"
_SMALL = 300
_FILM_PX = 512
_MODULE = "scan42_jax.eval.report_generation"


def present(
  run: Evaluation, outcome: Outcome, clinical: Mapping[str, Any]
) -> None:
  """Writes everything into the work folder, metrics.json last.

  Args:
    run: the evaluation.
    outcome: what it came to.
    clinical: see clinical.py; {} if it was not asked for.
  """
  settings, test = run.settings, outcome.splits.test
  known, films = test.pairs.pairs, outcome.texts[scoring.FILMS]
  files.write_texts(
    run.workdir / files.TEXTS,
    known,
    outcome.texts,
    scores=TextScores(
      [pair.text for pair in known], films, cleaning=settings.text.cleaning
    ),
  )
  files.write_rexrank(
    run.workdir / files.REXRANK,
    known,
    films,
    section=settings.text.section,
    split=settings.text.test_split,
  )
  page = render_cases(
    f"Reports on {settings.text.dataset}",
    make_cases(run, outcome),
    note="The first films of the test split in stored order, not chosen ones.",
    details=_notes(run, outcome),
  )
  (run.workdir / CASES).write_text(page, encoding="utf-8")
  write_results(run.workdir, _results(run, outcome, clinical))


def make_cases(run: Evaluation, outcome: Outcome) -> list[Case]:
  """The first films of the test split with what was written about them."""
  test = outcome.splits.test
  cases = []
  for row, pair in enumerate(test.pairs.pairs[: run.settings.score.cases]):
    film = shrink(test.films.film(pair.film), short_side_px=_FILM_PX)
    text = outcome.texts[scoring.FILMS][row]
    words = _words(run, outcome, row)
    cases.append(
      Case(
        title=f"{pair.image_id}",
        jpeg=encode_film(film, quality=80),
        height=film.shape[0],
        width=film.shape[1],
        reference=pair.text,
        generated=text,
        blind=outcome.texts[scoring.BLANK][row],
        indication=pair.indication,
        words=words,
        chosen=attention.sharpest(words),
        grid=test.films.grid(),
      )
    )
  return cases


def _words(run, outcome, row) -> list[attention.Word]:
  """Words of a generated text with their attention; [] where it is not known.

  Only for encoders that see the whole film: a crop's patches would lie wrong.
  """
  writer, test = outcome.writer, outcome.splits.test
  if not run.encoder.preprocessing.squash:
    return []
  pair = dataclasses.replace(
    test.pairs.pairs[row], text=outcome.texts[scoring.FILMS][row]
  )
  tokens, _ = report_tokens(writer, pair)
  prompt = writer.prompt(pair.indication)
  whole = np.array([[*prompt, *tokens]], np.int32)
  looks = writer.net.apply(
    {"params": outcome.params},
    test.seen([pair.film]),
    whole,
    np.ones_like(whole, bool),
    method="look",
  )
  # A token is chosen while the one before it is read.
  looks = np.asarray(looks)[0, len(prompt) - 1 : -2]
  return attention.words(writer.tokenizer.pieces(tokens[:-1]), looks)


def _results(run: Evaluation, outcome: Outcome, clinical) -> Results:
  settings, splits = run.settings, outcome.splits
  estimates = outcome.scores.estimates
  films = estimates[scoring.FILMS]
  metrics = {
    "task": "report_generation",
    "dataset": settings.text.dataset,
    "test": {
      made_from: {name: _json(e) for name, e in values.items()}
      for made_from, values in estimates.items()
    },
    "films_less_shuffled": {
      name: _json(e) for name, e in outcome.scores.gains.items()
    },
    "clinical": dict(clinical),
    "counts": {
      split.source.split: {
        "pairs": len(split.pairs.pairs),
        "patients": split.pairs.num_patients,
        "studies": split.pairs.num_studies,
        **split.pairs.counts,
      }
      for split in (splits.train, splits.validation, splits.test)
    },
    **outcome.facts,
  }
  return Results(
    title=f"Report generation on {settings.text.dataset}",
    row={
      "encoder": run.encoder.source,
      "decoder": settings.decoder,
      "protocol": "trained encoder"
      if settings.training.trains_encoder
      else "frozen encoder",
      "dataset": settings.text.dataset,
      "BLEU-1": str(films["bleu_1"]),
      "BLEU-4": str(films["bleu_4"]),
      "ROUGE-L": str(films["rouge_l_google"]),
      "CIDEr": str(films["cider"]),
      "BLEU-4, shuffled films": str(estimates[scoring.SHUFFLED]["bleu_4"]),
      **{name: f"{value:.3f}" for name, value in clinical.items()},
      "images": str(len(splits.test.pairs.pairs)),
    },
    metrics=metrics,
    provenance=provenance(
      _MODULE,
      config=to_json(settings),
      encoder=str(run.encoder),
      encoder_sha256=run.encoder_sha256,
      data={settings.text.dataset: splits.test.source.manifest_sha256},
      seed=settings.seed,
    ),
    tables=_tables(outcome, clinical),
    figures=[_figure(outcome)],
    notes=_notes(run, outcome),
  )


def _tables(outcome: Outcome, clinical) -> list[Table]:
  estimates = outcome.scores.estimates
  names = list(estimates[scoring.FILMS])
  tables = [
    Table(
      "Scores on test",
      ["texts made from", *names],
      [
        [
          made_from,
          *(str(values[n]) if n in values else "" for n in names),
        ]
        for made_from, values in estimates.items()
      ],
      note="With 95 % intervals over patients. All rows but the first never saw"
      " the film that they are scored on.",
    ),
    Table(
      "What the films add",
      ["metric", "films less shuffled films"],
      [[name, str(e)] for name, e in outcome.scores.gains.items()],
      note="Paired: both on the same resamples.",
    ),
  ]
  if clinical:
    rows = [[name, f"{value:.4f}"] for name, value in clinical.items()]
    tables.append(Table("Clinical metrics", ["metric", "value"], rows))
  return tables


def _figure(outcome: Outcome) -> Figure:
  bars = [
    Bar(made_from, e.value, e.low, e.high, f"{e.value:.3f}")
    for made_from, values in outcome.scores.estimates.items()
    if (e := values.get("bleu_4"))
  ]
  top = max(1e-3, *(bar.high for bar in bars))
  return Figure(
    "bleu_4",
    "BLEU-4 of the texts, and of texts that never saw the film.",
    svg=bar_chart(bars, label="BLEU-4", value_range=(0, top)),
  )


def _notes(run: Evaluation, outcome: Outcome) -> list[str]:
  settings, test = run.settings, outcome.splits.test
  text, counts = settings.text, test.pairs.counts
  number = len(test.pairs.pairs)
  without = counts.get(f"films without {text.section}", 0)
  prior = counts.get("sentences on prior studies", 0)
  further = counts.get("further films of a study", 0)
  treated = "left out" if text.prior_studies == "remove" else "kept"
  notes = [
    f"Unit: {text.unit}; {number} images of {test.pairs.num_studies} studies of"
    f" {test.pairs.num_patients} known patients; {without} images without"
    f" {text.section} and {further} further images of a study are left out.",
    f"References are whole, never cut; {prior} sentences on prior studies are"
    f" {treated}.",
    f"bleu_1 to bleu_4, rouge_l (beta 1.2) and cider: own code, equal to"
    f" pycocoevalcap, on '{text.cleaning}' tokens. sacrebleu: 13a tokens,"
    " smoothing exp, 0 to 100, cased and lower case. rouge_l_google: as"
    " rouge-score, no stemmer. bleu_4_per_report: mean over reports.",
    "Training never flips films.",
    leakage_note(run.encoder_name, test.source),
  ]
  if number < _SMALL:
    notes.append(
      "So few films show that the path works, not that a model is good."
    )
  return notes


def _json(estimate: Estimate) -> dict[str, Any]:
  return {
    name: getattr(estimate, name)
    for name in ("value", "median", "low", "high", "undefined_draws")
  }
