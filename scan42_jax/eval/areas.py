"""Every area under a curve of one set of scores, on any resample of its films.

Labels with one class are undefined: they are NaN here and in no mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scan42_jax.eval.splits import KnownFilms
from scan42_jax.metrics.ranking import RankedScores
from scan42_jax.types import Bool, Float, Int

MIN_POSITIVES = 10
"""Labels with fewer are flagged, and in no mean that has an interval."""

METRICS = ("auroc", "auprc")


class Areas:
  """AUROC and AUPRC by label, their means over sets of labels, and micro.

  Args:
    films: with their labels.
    scores: of the films.
    means: columns of each set of labels that a mean is taken over.
  """

  def __init__(
    self,
    films: KnownFilms,
    scores: Float[np.ndarray, "N C"],
    *,
    means: Mapping[str, Sequence[int]],
  ):
    self._ranked = RankedScores(films.labels, scores, films.valid)
    self._means = means
    kinds = [*films.label_names, *(f"mean of {n}" for n in means), "micro"]
    self.names = [(metric, kind) for metric in METRICS for kind in kinds]

  def __call__(
    self, rows: Int[np.ndarray, "M"] | None = None
  ) -> Float[np.ndarray, "A"]:
    """Returns the areas in the order of `names`, of all rows by default."""
    auroc, auprc = self._ranked.auroc(rows), self._ranked.auprc(rows)
    # Without negatives every precision is 1, and says nothing.
    auprc = np.where(np.isnan(auroc), np.nan, auprc)
    values = []
    for areas, micro in zip(
      (auroc, auprc), self._ranked.micro(rows), strict=True
    ):
      means = [_mean(areas[list(c)]) for c in self._means.values()]
      values += [*areas, *means, micro]
    return np.array(values)


def _mean(areas: Float[np.ndarray, "X"]) -> float:
  """NaN as soon as one is: a mean over fewer labels is another number."""
  return float(areas.mean()) if len(areas) else float("nan")


def defined_labels(films: KnownFilms) -> Bool[np.ndarray, "C"]:
  """Labels with both classes among these films."""
  positive = (films.labels > 0.5) & films.valid
  negative = (films.labels <= 0.5) & films.valid
  return positive.any(axis=0) & negative.any(axis=0)


def positives(films: KnownFilms) -> Int[np.ndarray, "C"]:
  """Films that have each label."""
  return ((films.labels > 0.5) & films.valid).sum(axis=0)


def label_sets(
  films: KnownFilms, paper_labels: Sequence[str]
) -> dict[str, list[int]]:
  """Columns of the sets that means are taken over: all labels, the paper's."""
  sets = {"all labels": list(range(len(films.label_names)))}
  if paper_labels:
    names = list(films.label_names)
    sets["the paper's labels"] = [names.index(name) for name in paper_labels]
  return sets


def steady(films: KnownFilms, columns: Sequence[int]) -> list[int]:
  """Labels of a set that are fit for a mean with an interval.

  They are fixed before any resample: both classes, and at least MIN_POSITIVES
  positives.
  """
  fit = defined_labels(films) & (positives(films) >= MIN_POSITIVES)
  return [c for c in columns if fit[c]]
