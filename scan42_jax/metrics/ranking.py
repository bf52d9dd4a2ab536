"""How well scores rank positives above negatives."""

from __future__ import annotations

import numpy as np

from scan42_jax.types import Bool, Float


def auroc(
  labels: Float[np.ndarray, "N C"],
  scores: Float[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"] | None = None,
) -> Float[np.ndarray, "C"]:
  """Area under the ROC curve of every class, ties counted half.

  Args:
    labels: 0 or 1.
    scores: any monotone score.
    valid: entries that count; all by default.

  Returns:
    One value per class, NaN where a class lacks positives or negatives.
  """
  if valid is None:
    valid = np.ones(labels.shape, bool)
  columns = zip(labels.T, scores.T, valid.T, strict=True)
  return np.array([_auroc(y[keep] > 0.5, s[keep]) for y, s, keep in columns])


def _auroc(
  positive: Bool[np.ndarray, "N"], scores: Float[np.ndarray, "N"]
) -> float:
  """Mann-Whitney U over the number of pairs."""
  num_positive = int(positive.sum())
  num_negative = len(positive) - num_positive
  if not num_positive or not num_negative:
    return float("nan")
  _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
  mid_ranks = np.cumsum(counts) - (counts - 1) / 2
  rank_sum = mid_ranks[place][positive].sum()
  u = rank_sum - num_positive * (num_positive + 1) / 2
  return float(u / (num_positive * num_negative))
