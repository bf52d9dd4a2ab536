"""One classification: protocol, figures and all that is left behind.

Sequences what its neighbours do; classification.py has the flags.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from typing import Any

from scan42_jax.eval import classification_report as report
from scan42_jax.eval.adapted import AdaptedModel, save_model
from scan42_jax.eval.areas import Areas, steady
from scan42_jax.eval.encoders import leakage_note, open_encoder
from scan42_jax.eval.few_shot import fit_few_shot
from scan42_jax.eval.finetune import Finetuning
from scan42_jax.eval.frozen import (
  Fitted,
  TokenSplit,
  TokenSplits,
  fit_knn,
  fit_linear,
  fit_logistic,
)
from scan42_jax.eval.grouping import by_patient, subgroups
from scan42_jax.eval.measuring import (
  Figures,
  Thresholds,
  choose_thresholds,
  measure,
  resampled,
)
from scan42_jax.eval.results.provenance import provenance
from scan42_jax.eval.results.writing import Results, write_results
from scan42_jax.eval.scored import PREDICTIONS, Scored, write_predictions
from scan42_jax.eval.settings import EvalSettings
from scan42_jax.eval.splits import Splits, open_splits
from scan42_jax.eval.token_cache import TokenReader, cached_tokens
from scan42_jax.metrics.bootstrap import estimate, patient_bootstrap
from scan42_jax.pages.page import Table, text_table
from scan42_jax.weights.digest import weights_sha256

_FROZEN = {
  "linear": fit_linear,
  "logistic": fit_logistic,
  "knn": fit_knn,
  "few_shot": fit_few_shot,
}


def evaluate(
  settings: EvalSettings,
  source: str,
  *,
  workdir: pathlib.Path,
  data_dir: pathlib.Path,
  signals: list[Any],
) -> Figures | None:
  """Runs the protocol and writes the results.

  Args:
    settings: of the evaluation.
    source: see `open_encoder`.
    workdir: gets predictions.csv, metrics.json, results.md, report.html,
      figures/, the model, and what is cached on the way.
    data_dir: prepared datasets.
    signals: grows by the signals that ask for an early end.

  Returns:
    Figures of the test films by image; None where a signal ended the run.

  Raises:
    ValueError, OSError: one line about what is wrong and what to do.
  """
  started = time.monotonic()
  splits = open_splits(settings.data, data_dir)
  encoder = open_encoder(source, dtype=settings.dtype, seed=settings.seed)
  print(encoder, flush=True)
  reader = TokenReader(encoder, settings.features)
  fitted = _fit(reader, splits, settings, workdir, signals)
  if signals or fitted is None:
    return None
  reader, fitted = fitted
  thresholds = choose_thresholds(
    fitted.validation, wanted_specificity=settings.report.specificity
  )
  write_predictions(
    workdir / PREDICTIONS,
    [("validation", fitted.validation), ("test", fitted.test)],
  )
  if fitted.head is not None:
    model = AdaptedModel(
      reader=reader,
      head=fitted.head,
      labels=splits.test.known.label_names,
      exclusive=settings.data.exclusive,
      thresholds=thresholds.best_f1,
    )
    save_model(workdir, model, settings.features)
  figures = _measure(fitted, thresholds, settings)
  made = provenance(
    "scan42_jax.eval.classification",
    config=dataclasses.asdict(settings),
    encoder=str(encoder),
    encoder_sha256=weights_sha256(encoder.params),
    data={splits.test.source.name: splits.test.source.manifest_sha256},
    seed=settings.seed,
  )
  results = _results(
    settings,
    fitted,
    figures,
    provenance=made | {"seconds": round(time.monotonic() - started)},
    leakage=leakage_note(source, splits.test.source),
    encoder=encoder.source,
  )
  write_results(workdir, results)
  print(text_table(results.tables[0]))
  print(f"results in {workdir}", flush=True)
  return figures[0]


def _fit(
  reader: TokenReader,
  splits: Splits,
  settings: EvalSettings,
  workdir: pathlib.Path,
  signals: list[Any],
) -> tuple[TokenReader, Fitted] | None:
  """Runs the protocol; returns the reader of the encoder that it ended with."""
  if settings.protocol == "finetune":
    return _finetune(reader, splits, settings, workdir, signals)
  train, validation, test = (
    TokenSplit(
      cached_tokens(reader, split.source, workdir / "tokens"), split.known
    )
    for split in splits
  )
  tokens = TokenSplits(train, validation, test, reader.width)
  return reader, _FROZEN[settings.protocol](tokens, settings)


def _finetune(reader, splits, settings, workdir, signals):
  run = Finetuning(reader, splits, settings=settings, workdir=workdir)
  found = run.run(signals)
  if found is None:
    return None
  encoder = dataclasses.replace(reader.encoder, params=found.encoder)
  # What the reader has dropped already stays dropped.
  features = dataclasses.replace(settings.features, drop_registers=False)
  chosen = f"step {found.step}, validation {settings.metric} {found.value:.4f}"
  fitted = Fitted(
    validation=found.validation,
    test=found.test,
    head=found.head,
    choice={"chosen": chosen},
    chosen=chosen,
  )
  return TokenReader(encoder, features), fitted


def _measure(
  fitted: Fitted, thresholds: Thresholds, settings: EvalSettings
) -> list[Figures]:
  """Figures by image and, where asked for, by patient."""
  common = {"settings": settings.report, "seed": settings.seed}
  found = [measure(fitted.test, thresholds, **common)]
  if settings.report.patient_maximum:
    validation, test = (
      _patient_maximum(scored) for scored in (fitted.validation, fitted.test)
    )
    found.append(
      measure(
        test,
        choose_thresholds(
          validation, wanted_specificity=settings.report.specificity
        ),
        unit="patient, highest score of the films",
        **common,
      )
    )
  return found


def _patient_maximum(scored: Scored) -> Scored:
  films, scores = by_patient(scored.films, scored.scores)
  _, shares = by_patient(scored.films, scored.probabilities)
  return Scored(films, scores, shares)


def _subgroups(
  test: Scored, settings: EvalSettings
) -> list[tuple[str, str, int, int, str]]:
  """Rows of the table: kind, group, films, patients, mean AUROC."""
  rows = []
  everything = range(len(test.films.label_names))
  found = subgroups(test.films, age_bands=settings.report.age_bands)
  for kind, groups in found.items():
    parts = {name: test.take(index) for name, index in groups.items()}
    kept = {n: set(steady(p.films, everything)) for n, p in parts.items()}
    some = [labels for labels in kept.values() if labels]
    shared = sorted(set.intersection(*some)) if some else []
    for name, part in parts.items():
      text = "too few positives"
      if shared and kept[name]:
        text = f"{_mean_auroc(part, shared, settings)}, {len(shared)} labels"
      rows.append((kind, name, len(part.films), part.films.num_patients, text))
  return rows


def _mean_auroc(part: Scored, columns, settings: EvalSettings):
  areas = Areas(part.films, part.scores, means={"shared": columns})
  place = areas.names.index(("auroc", "mean of shared"))
  samples = patient_bootstrap(
    lambda rows: areas(rows)[place],
    resampled(part, settings.report.resample),
    draws=settings.report.draws,
    seed=settings.seed,
  )
  return estimate(areas()[place], samples)


def _results(
  settings: EvalSettings,
  fitted: Fitted,
  figures: list[Figures],
  *,
  provenance: dict[str, Any],
  leakage: str,
  encoder: str,
) -> Results:
  mean, auroc, auprc = report.best_mean(figures[-1])
  notes = report.notes(fitted.test, figures, settings, leakage=leakage)
  groups = _subgroups(fitted.test, settings)
  tuned = settings.protocol == "finetune" and settings.finetune.train_encoder
  chosen = Table(
    "Chosen on validation",
    ("protocol", "encoder", "chosen"),
    [(settings.protocol, "fine-tuned" if tuned else "frozen", fitted.chosen)],
  )
  return Results(
    title=f"{settings.data.dataset}: {settings.protocol} on {encoder}",
    row={
      "dataset": settings.data.dataset,
      "encoder": encoder,
      "protocol": settings.protocol,
      "weights": "fine-tuned" if tuned else "frozen",
      "by": figures[-1].unit,
      "test films": str(figures[0].films),
      "patients": str(figures[0].patients or "unknown"),
      "mean over": mean,
      "AUROC (95 %)": str(auroc),
      "AUPRC (95 %)": str(auprc),
      "micro AUROC (95 %)": str(figures[-1].micro_auroc),
      "label policy": settings.data.policy,
      "seconds": str(provenance["seconds"]),
    },
    metrics={
      "task": "classification",
      "figures": [dataclasses.asdict(f) for f in figures],
      "subgroups": groups,
      "choice": fitted.choice,
      "notes": notes,
    },
    provenance=provenance,
    tables=[
      report.mean_table(figures),
      *fitted.tables,
      *(
        report.label_table(f, wanted_specificity=settings.report.specificity)
        for f in figures
      ),
      report.subgroup_table(groups),
      chosen,
    ],
    figures=report.draw_figures(
      fitted.test,
      figures[0],
      exclusive=settings.data.exclusive,
      paper=settings.report.paper_labels,
    ),
    notes=notes,
  )
