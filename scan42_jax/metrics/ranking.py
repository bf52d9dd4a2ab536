"""How well scores rank positives above negatives.

Areas agree with scikit-learn's `roc_auc_score` and `average_precision_score`.
"""

from __future__ import annotations

import numpy as np

from scan42_jax.types import Bool, Float, Int


class RankedScores:
  """Scores reduced to ranks, to be judged on many resamples of the rows.

  Sorting is done once, so a resample costs one pass.

  Args:
    labels: 0 or 1.
    scores: any monotone score.
    valid: entries that count; all by default.
  """

  def __init__(
    self,
    labels: Float[np.ndarray, "N C"],
    scores: Float[np.ndarray, "N C"],
    valid: Bool[np.ndarray, "N C"] | None = None,
  ):
    if valid is None:
      valid = np.ones(labels.shape, bool)
    self._positive = (labels > 0.5) & valid
    self._negative = (labels <= 0.5) & valid
    self._places = [_places(column) for column in scores.T]
    self._flat_places: Int[np.ndarray, "X"] | None = None
    self._scores = scores

  def auroc(
    self, rows: Int[np.ndarray, "M"] | None = None
  ) -> Float[np.ndarray, "C"]:
    """Area under the ROC curve of every class, ties counted half.

    Args:
      rows: row numbers, some of them repeated; every row once by default.

    Returns:
      One value per class, NaN where a class lacks positives or negatives.
    """
    return np.array([_auroc(*counts) for counts in self._by_class(rows)])

  def auprc(
    self, rows: Int[np.ndarray, "M"] | None = None
  ) -> Float[np.ndarray, "C"]:
    """Average precision of every class, NaN without positives.

    The sum over distinct scores of precision times the rise of recall; rows as
    in `auroc`.
    """
    return np.array([_auprc(*counts) for counts in self._by_class(rows)])

  def micro(
    self,
    rows: Int[np.ndarray, "M"] | None = None,
  ) -> tuple[float, float]:
    """AUROC and AUPRC with all classes thrown together."""
    if self._flat_places is None:
      self._flat_places = _places(self._scores.ravel())
    weights = self._weights(rows)[:, None]
    counts = _counts(
      self._flat_places,
      (weights * self._positive).ravel(),
      (weights * self._negative).ravel(),
    )
    return _auroc(*counts), _auprc(*counts)

  def _by_class(self, rows):
    weights = self._weights(rows)
    for places, positive, negative in zip(
      self._places, self._positive.T, self._negative.T, strict=True
    ):
      yield _counts(places, weights * positive, weights * negative)

  def _weights(self, rows) -> Float[np.ndarray, "N"]:
    """How often each row occurs."""
    number = len(self._positive)
    if rows is None:
      return np.ones(number)
    return np.bincount(rows, minlength=number).astype(float)


def auroc(
  labels: Float[np.ndarray, "N C"],
  scores: Float[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"] | None = None,
) -> Float[np.ndarray, "C"]:
  """Area under the ROC curve of every class; see `RankedScores.auroc`."""
  return RankedScores(labels, scores, valid).auroc()


def auprc(
  labels: Float[np.ndarray, "N C"],
  scores: Float[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"] | None = None,
) -> Float[np.ndarray, "C"]:
  """Average precision of every class; see `RankedScores.auprc`."""
  return RankedScores(labels, scores, valid).auprc()


def weighted_mean(
  values: Float[np.ndarray, "C"], positives: Int[np.ndarray, "C"]
) -> float:
  """Mean over the defined classes, weighted by their positives; NaN if none."""
  defined = np.isfinite(values)
  total = positives[defined].sum()
  if not total:
    return float("nan")
  return float((values[defined] * positives[defined]).sum() / total)


def roc_curve(
  positive: Bool[np.ndarray, "N"], scores: Float[np.ndarray, "N"]
) -> tuple[Float[np.ndarray, "X"], Float[np.ndarray, "X"]]:
  """Points of the ROC curve: false and true positive rate, from (0, 0)."""
  true, false = _cumulative(positive, scores)
  return false / max(false[-1], 1), true / max(true[-1], 1)


def precision_recall_curve(
  positive: Bool[np.ndarray, "N"], scores: Float[np.ndarray, "N"]
) -> tuple[Float[np.ndarray, "X"], Float[np.ndarray, "X"]]:
  """Points (recall, precision) at every distinct score, highest first."""
  true, false = (x[1:] for x in _cumulative(positive, scores))
  return true / max(true[-1], 1), true / np.maximum(true + false, 1)


def _cumulative(positive, scores):
  """True and false positives from the highest threshold down, 0 first."""
  positives, negatives = _counts(_places(scores), positive, ~positive)
  return (
    np.concatenate([[0], np.cumsum(x[::-1])]) for x in (positives, negatives)
  )


def _places(scores: Float[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
  """The rank of each score among the distinct ones, the lowest first."""
  return np.unique(scores, return_inverse=True)[1]


def _counts(places, positive, negative):
  """Positives and negatives at each distinct score."""
  size = int(places.max(initial=0)) + 1
  return (
    np.bincount(places, weights=positive, minlength=size),
    np.bincount(places, weights=negative, minlength=size),
  )


def _auroc(
  positives: Float[np.ndarray, "X"], negatives: Float[np.ndarray, "X"]
) -> float:
  """Mann-Whitney U over the number of pairs."""
  pairs = positives.sum() * negatives.sum()
  if not pairs:
    return float("nan")
  below = np.cumsum(negatives) - negatives / 2
  return float((positives * below).sum() / pairs)


def _auprc(
  positives: Float[np.ndarray, "X"], negatives: Float[np.ndarray, "X"]
) -> float:
  total = positives.sum()
  if not total:
    return float("nan")
  true, false = np.cumsum(positives[::-1]), np.cumsum(negatives[::-1])
  precision = true / np.maximum(true + false, 1)
  return float((positives[::-1] * precision).sum() / total)
