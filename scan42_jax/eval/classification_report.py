"""Tables, figures and sentences of a classification, for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from scan42_jax.eval.areas import MIN_POSITIVES, defined_labels, positives
from scan42_jax.eval.measuring import Figures, LabelFigures, MeanFigures
from scan42_jax.eval.scored import Scored
from scan42_jax.eval.settings import EvalSettings
from scan42_jax.metrics.bootstrap import Estimate
from scan42_jax.metrics.calibration import reliability
from scan42_jax.metrics.operating_point import class_confusion
from scan42_jax.metrics.ranking import precision_recall_curve, roc_curve
from scan42_jax.pages.charts import (
  Bar,
  Line,
  bar_chart,
  heat_table,
  line_chart,
)
from scan42_jax.pages.page import Figure, Table

_FEW_PATIENTS = 300
_MOST_CURVES = 14


def mean_table(all_figures: Sequence[Figures]) -> Table:
  """Means over labels, by unit; each says which labels it is over."""
  rows = []
  for figures in all_figures:
    rows += [
      (figures.unit, *row) for mean in figures.means for row in _mean_rows(mean)
    ]
    if len(figures.labels) > 1:
      micro = "micro: all labels thrown together"
      cells = _cells(figures.micro_auroc, figures.micro_auprc)
      rows.append((figures.unit, micro, *cells))
      weighted = "weighted by positives, defined labels"
      cells = _number(figures.weighted_auroc), "", "", "", ""
      rows.append((figures.unit, weighted, *cells))
  return Table(
    "Means over labels",
    ("by", "over", "AUROC", "median", "AUPRC", "median", "remark"),
    rows,
    note="In brackets: 95 % percentile interval of the bootstrap. Only means"
    f" over labels with at least {MIN_POSITIVES} positives, fixed beforehand,"
    " have one.",
  )


def _mean_rows(mean: MeanFigures) -> Iterator[tuple[str, ...]]:
  """The mean over what is defined, and the one with an interval."""
  if mean.steady_labels != mean.labels or not mean.labels:
    name = f"{mean.name}, {len(mean.labels)} defined"
    yield name, _number(mean.auroc), "", _number(mean.auprc), "", ""
  if mean.steady_labels:
    count = len(mean.steady_labels)
    name = f"{mean.name}, {count} with {MIN_POSITIVES} or more positives"
    yield name, *_cells(mean.steady_auroc, mean.steady_auprc)


def _cells(auroc: Estimate, auprc: Estimate) -> tuple[str, ...]:
  undefined = auroc.undefined_draws
  return (
    str(auroc),
    _number(auroc.median),
    str(auprc),
    _number(auprc.median),
    f"{undefined} draws undefined" if undefined else "",
  )


def label_table(figures: Figures, *, wanted_specificity: float) -> Table:
  """All figures of each label."""
  rows = [
    (
      label.name,
      str(label.positives),
      str(label.negatives),
      f"{label.prevalence:.3f}",
      str(label.auroc),
      str(label.auprc),
      str(label.sensitivity),
      _number(label.specificity),
      _number(label.threshold),
      _number(label.f1),
      _number(label.f1_threshold),
      _number(label.calibration_error),
      _number(label.brier),
      _remark(label),
    )
    for label in figures.labels
  ]
  return Table(
    f"Labels, by {figures.unit}",
    (
      "label",
      "positives",
      "negatives",
      "prevalence",
      "AUROC",
      "AUPRC",
      f"sensitivity at {wanted_specificity:g} specificity",
      "specificity reached",
      "threshold",
      "F1",
      "threshold of F1",
      "ECE",
      "Brier",
      "remark",
    ),
    rows,
    note="Thresholds are probabilities chosen on validation films. Chance has"
    " an AUPRC of the prevalence.",
  )


def _remark(label: LabelFigures) -> str:
  if math.isnan(label.auroc.value):
    return "undefined: one class only"
  remarks = []
  if label.positives < MIN_POSITIVES:
    remarks.append(f"fewer than {MIN_POSITIVES} positives")
  if label.auroc.undefined_draws:
    remarks.append(f"{label.auroc.undefined_draws} draws undefined")
  return ", ".join(remarks)


def notes(
  test: Scored,
  all_figures: Sequence[Figures],
  settings: EvalSettings,
  *,
  leakage: str,
) -> list[str]:
  """Sentences that belong to every number of the page."""
  figures, data = all_figures[0], settings.data
  by_patient = settings.report.resample == "patient" and figures.patients
  unknown = sum(not patient for patient in test.films.patients)
  found = [
    f"{figures.films} test films of {figures.patients or 'unknown'} patients"
    f" of {data.dataset}; label policy {data.policy!r}.",
    f"Intervals: {settings.report.draws} resamples"
    f" {'of patients' if by_patient else 'of images'}, seed {settings.seed};"
    " values are those of the whole test set.",
    leakage,
  ]
  if by_patient and unknown:
    found.append(
      f"{unknown} films have no known patient and are drawn one by one."
    )
  undefined = figures.means[0].undefined
  if undefined:
    found.append(
      "Undefined, since all test films have or all lack it, and in no mean:"
      f" {', '.join(undefined)}."
    )
  if (figures.patients or figures.films) < _FEW_PATIENTS:
    found.append(
      "So small a sample shows that the path works, not that a model is good."
    )
  return found


def subgroup_table(groups: Sequence[tuple[str, str, int, int, str]]) -> Table:
  """Areas by subgroup; rows of (what, group, films, patients, AUROC)."""
  return Table(
    "Subgroups",
    ("by", "group", "films", "patients", "AUROC"),
    [tuple(map(str, row)) for row in groups],
    note="Mean over the labels that have at least"
    f" {MIN_POSITIVES} positives in every group of a kind; groups without any"
    " such label are only counted.",
  )


def draw_figures(
  test: Scored, figures: Figures, *, exclusive: bool, paper: Sequence[str]
) -> list[Figure]:
  """Charts of the test films."""
  columns = _shown(test, paper)
  drawn = [
    Figure(
      "auroc",
      "AUROC of each label with its 95 % interval.",
      _bars(figures),
      wide=True,
    )
  ]
  if columns:
    left_out = (
      ""
      if len(columns) == len(figures.labels)
      else (
        " Labels that are undefined, or beyond the first"
        f" {_MOST_CURVES}, are left out."
      )
    )
    drawn += [
      Figure("roc", f"ROC curves.{left_out}", _roc(test, columns)),
      Figure(
        "precision_recall",
        f"Precision by recall.{left_out}",
        _precision_recall(test, columns),
      ),
      Figure(
        "reliability",
        "Share of films that have the label, by predicted probability, in ten"
        " bins. On the diagonal a probability is what it says.",
        _reliability(test, columns),
      ),
    ]
  return [*drawn, *_confusion(test, figures, exclusive=exclusive)]


def _shown(test: Scored, paper: Sequence[str]) -> list[int]:
  """Columns to draw: defined, the paper's first, then the frequent ones."""
  names, count = test.films.label_names, positives(test.films)
  defined = np.flatnonzero(defined_labels(test.films)).tolist()
  order = sorted(defined, key=lambda c: (names[c] not in paper, -count[c]))
  return sorted(order[:_MOST_CURVES])


def _bars(figures: Figures) -> str:
  bars = [
    Bar(
      label.name,
      label.auroc.value,
      label.auroc.low,
      label.auroc.high,
      str(label.auroc),
    )
    for label in figures.labels
  ]
  ends = [v for bar in bars for v in (bar.value, bar.low) if not math.isnan(v)]
  low = math.floor(min([0.5, *ends]) * 10) / 10
  return bar_chart(bars, label="AUROC", value_range=(low, 1.0), reference=0.5)


def _known(test: Scored, column: int, values: np.ndarray):
  keep = test.films.valid[:, column]
  return test.films.labels[keep, column] > 0.5, values[keep, column]


def _roc(test: Scored, columns: Sequence[int]) -> str:
  lines = [
    Line(test.films.label_names[c], *roc_curve(*_known(test, c, test.scores)))
    for c in columns
  ]
  return line_chart(
    lines, x_label="1 - specificity", y_label="sensitivity", diagonal=True
  )


def _precision_recall(test: Scored, columns: Sequence[int]) -> str:
  lines = [
    Line(
      test.films.label_names[c],
      *precision_recall_curve(*_known(test, c, test.scores)),
    )
    for c in columns
  ]
  return line_chart(lines, x_label="recall", y_label="precision")


def _reliability(test: Scored, columns: Sequence[int]) -> str:
  lines, highest = [], 0.1
  for c in columns:
    positive, shares = _known(test, c, test.probabilities)
    mean, share, _ = reliability(positive.astype(float), shares)
    name = test.films.label_names[c]
    lines.append(Line(name, mean, share, marks=True))
    highest = max(highest, np.nanmax([mean, share]))
  ends = (0.0, math.ceil(10 * highest - 1e-9) / 10)
  return line_chart(
    lines,
    x_label="mean probability",
    y_label="share of films with the label",
    x_range=ends,
    y_range=ends,
    diagonal=True,
  )


def _confusion(
  test: Scored, figures: Figures, *, exclusive: bool
) -> Iterator[Figure]:
  names = list(test.films.label_names)
  if exclusive:
    known = test.films.valid.all(axis=1)
    truth = test.films.labels[known].argmax(axis=1)
    called = test.probabilities[known].argmax(axis=1)
    counts = class_confusion(truth, called, classes=len(names))
    share = np.trace(counts) / max(counts.sum(), 1)
    svg = heat_table(
      counts,
      row_names=names,
      column_names=names,
      row_title="truth",
      column_title="called, by the highest probability",
    )
    caption = f"Confusion of the classes; accuracy {share:.3f}."
    yield Figure("confusion", caption, svg, wide=True)
    return
  chosen = [label for label in figures.labels if label.confusion]
  if chosen:
    counts = [np.ravel(label.confusion)[[3, 2, 1, 0]] for label in chosen]
    svg = heat_table(
      np.array(counts),
      row_names=[label.name for label in chosen],
      column_names=["found", "missed", "false alarm", "rightly none"],
      row_title="label",
      column_title="films at the threshold with the best F1 on validation",
    )
    yield Figure("confusion", "Confusion of each label.", svg, wide=True)


def _number(value: float) -> str:
  return "" if math.isnan(value) else f"{value:.3f}"


def best_mean(figures: Figures) -> tuple[str, Estimate, Estimate]:
  """The mean that stands for a run in a table: which, AUROC and AUPRC."""
  mean = figures.means[-1]
  if mean.steady_labels == mean.labels and mean.labels:
    return (
      f"{mean.name}, {len(mean.labels)}",
      mean.steady_auroc,
      mean.steady_auprc,
    )
  return (
    f"{mean.name}, {len(mean.labels)} defined",
    Estimate(mean.auroc),
    Estimate(mean.auprc),
  )
