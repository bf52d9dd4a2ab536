"""All figures of a set of test films, with intervals by patient.

Thresholds come from validation films. A label with one class is undefined and
said to be so, never averaged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from scan42_jax.eval.areas import (
  Areas,
  defined_labels,
  label_sets,
  positives,
  steady,
)
from scan42_jax.eval.scored import Scored
from scan42_jax.eval.settings import ReportSettings
from scan42_jax.metrics.bootstrap import (
  Estimate,
  estimate,
  patient_bootstrap,
)
from scan42_jax.metrics.calibration import brier, calibration_error
from scan42_jax.metrics.operating_point import (
  confusion,
  f1_score,
  specificity,
  threshold_at_best_f1,
  threshold_at_specificity,
)
from scan42_jax.metrics.ranking import weighted_mean
from scan42_jax.types import Float, Int


@dataclasses.dataclass(frozen=True)
class Thresholds:
  """Probabilities at which a label is called, NaN where none could be chosen.

  Attributes:
    at_specificity: keeps the wanted specificity on validation.
    best_f1: has the best F1 on validation.
  """

  at_specificity: Float[np.ndarray, "C"]
  best_f1: Float[np.ndarray, "C"]


@dataclasses.dataclass(frozen=True)
class LabelFigures:
  """Figures of one label; areas and rates are undefined with one class.

  Attributes:
    name: of the label.
    positives: films that have it.
    negatives: films that have it not.
    auroc: area under the ROC curve.
    auprc: average precision; chance is the prevalence.
    sensitivity: at `threshold`.
    specificity: reached at `threshold`.
    threshold: probability, from validation.
    f1_threshold: likewise, with the best F1 there.
    f1: at `f1_threshold`.
    confusion: counts there, [[TN, FP], [FN, TP]].
    calibration_error: see metrics/calibration.py.
    brier: likewise.
  """

  name: str
  positives: int
  negatives: int
  auroc: Estimate
  auprc: Estimate
  sensitivity: Estimate
  specificity: float
  threshold: float
  f1_threshold: float
  f1: float
  confusion: list[list[int]]
  calibration_error: float
  brier: float

  @property
  def prevalence(self) -> float:
    """Share of the films with a known label that have it."""
    return self.positives / max(self.positives + self.negatives, 1)


@dataclasses.dataclass(frozen=True)
class MeanFigures:
  """Arithmetic means over a set of labels.

  Attributes:
    name: of the set.
    labels: those that are defined; `auroc` and `auprc` are over them.
    undefined: the others.
    auroc: without interval.
    auprc: without interval.
    steady_labels: those with enough positives for an interval.
    steady_auroc: mean over these.
    steady_auprc: likewise.
  """

  name: str
  labels: list[str]
  undefined: list[str]
  auroc: float
  auprc: float
  steady_labels: list[str]
  steady_auroc: Estimate
  steady_auprc: Estimate


@dataclasses.dataclass(frozen=True)
class Figures:
  """All figures of a set of films.

  Attributes:
    unit: what a row is, 'image' or 'patient, highest score of the films'.
    films: rows.
    patients: 0 if unknown.
    labels: figures by label.
    means: over all labels, and over the paper's.
    micro_auroc: all labels thrown together.
    micro_auprc: likewise.
    weighted_auroc: mean weighted by positives, over the defined labels.
  """

  unit: str
  films: int
  patients: int
  labels: list[LabelFigures]
  means: list[MeanFigures]
  micro_auroc: Estimate
  micro_auprc: Estimate
  weighted_auroc: float


def choose_thresholds(
  validation: Scored, *, wanted_specificity: float
) -> Thresholds:
  """Chooses thresholds for every label on validation films."""
  films, chosen = validation.films, ([], [])
  for c, defined in enumerate(defined_labels(films)):
    keep = films.valid[:, c]
    positive = films.labels[keep, c] > 0.5
    shares = validation.probabilities[keep, c]
    pair = (float("nan"), float("nan"))
    if defined:
      pair = (
        threshold_at_specificity(positive, shares, wanted_specificity),
        threshold_at_best_f1(positive, shares),
      )
    for values, value in zip(chosen, pair, strict=True):
      values.append(value)
  return Thresholds(*map(np.array, chosen))


def measure(
  test: Scored,
  thresholds: Thresholds,
  *,
  settings: ReportSettings,
  seed: int,
  unit: str = "image",
) -> Figures:
  """Measures test films.

  Args:
    test: films and scores.
    thresholds: from validation.
    settings: what to measure.
    seed: of the resamples.
    unit: what a row is.
  """
  films = test.films
  sets = label_sets(films, settings.paper_labels)
  kept = {name: steady(films, columns) for name, columns in sets.items()}
  areas = Areas(films, test.scores, means=kept)
  called = test.probabilities >= thresholds.at_specificity  # Never at NaN.
  hits = _Hits(test, called, known=~np.isnan(thresholds.at_specificity))
  samples = patient_bootstrap(
    lambda rows: np.concatenate([areas(rows), hits(rows)]),
    resampled(test, settings.resample),
    draws=settings.draws,
    seed=seed,
  )
  values = np.concatenate([areas(), hits()])
  found = [estimate(v, s) for v, s in zip(values, samples.T, strict=True)]
  by_name = dict(zip(areas.names, found, strict=False))
  return Figures(
    unit=unit,
    films=len(films),
    patients=films.num_patients,
    labels=_labels(test, thresholds, by_name, found[len(areas.names) :]),
    means=[_mean(test, n, sets[n], kept[n], by_name) for n in sets],
    micro_auroc=by_name["auroc", "micro"],
    micro_auprc=by_name["auprc", "micro"],
    weighted_auroc=weighted_mean(
      np.array([by_name["auroc", n].value for n in films.label_names]),
      positives(films),
    ),
  )


def resampled(test: Scored, unit: str) -> Sequence[str]:
  """Returns the names that the bootstrap draws: patients, or each film."""
  return test.films.patients if unit == "patient" else [""] * len(test.films)


class _Hits:
  """Sensitivity of every label on any resample; NaN without a threshold."""

  def __init__(self, test: Scored, called, *, known):
    positive = (test.films.labels > 0.5) & test.films.valid
    self._positive = positive.astype(float)
    self._hit = (positive & called).astype(float)
    self._known = known & defined_labels(test.films)

  def __call__(
    self, rows: Int[np.ndarray, "M"] | None = None
  ) -> Float[np.ndarray, "C"]:
    number = len(self._hit)
    weights = (
      np.ones(number)
      if rows is None
      else np.bincount(rows, minlength=number).astype(float)
    )
    there = weights @ self._positive
    share = (weights @ self._hit) / np.maximum(there, 1)
    return np.where(self._known & (there > 0), share, np.nan)


def _labels(
  test: Scored,
  thresholds: Thresholds,
  areas: Mapping[tuple[str, str], Estimate],
  sensitivities: Sequence[Estimate],
) -> list[LabelFigures]:
  films, shares = test.films, test.probabilities
  at_specificity, best_f1 = (
    confusion(films.labels, shares >= threshold, films.valid)
    for threshold in (thresholds.at_specificity, thresholds.best_f1)
  )
  reached, f1 = specificity(at_specificity), f1_score(best_f1)
  errors = calibration_error(films.labels, shares, films.valid)
  briers = brier(films.labels, shares, films.valid)
  found = []
  for c, name in enumerate(films.label_names):
    chosen = not np.isnan(thresholds.best_f1[c])
    counts = best_f1[c]
    found.append(
      LabelFigures(
        name=name,
        positives=int(counts[1].sum()),
        negatives=int(counts[0].sum()),
        auroc=areas["auroc", name],
        auprc=areas["auprc", name],
        sensitivity=sensitivities[c],
        specificity=float(reached[c]) if chosen else float("nan"),
        threshold=float(thresholds.at_specificity[c]),
        f1_threshold=float(thresholds.best_f1[c]),
        f1=float(f1[c]) if chosen else float("nan"),
        confusion=counts.tolist() if chosen else [],
        calibration_error=float(errors[c]),
        brier=float(briers[c]),
      )
    )
  return found


def _mean(
  test: Scored,
  name: str,
  columns: Sequence[int],
  kept: Sequence[int],
  areas: Mapping[tuple[str, str], Estimate],
) -> MeanFigures:
  names = test.films.label_names
  defined = defined_labels(test.films)
  there = [names[c] for c in columns if defined[c]]

  def plain(metric: str) -> float:
    values = [areas[metric, label].value for label in there]
    return float(np.mean(values)) if values else float("nan")

  return MeanFigures(
    name=name,
    labels=there,
    undefined=[names[c] for c in columns if not defined[c]],
    auroc=plain("auroc"),
    auprc=plain("auprc"),
    steady_labels=[names[c] for c in kept],
    steady_auroc=areas["auroc", f"mean of {name}"],
    steady_auprc=areas["auprc", f"mean of {name}"],
  )
