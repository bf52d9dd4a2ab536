"""Decisions: a threshold, chosen on one set, and what it does on another.

A film is called positive where its score is at or above the threshold.
"""

from __future__ import annotations

import numpy as np

from scan42_jax.types import Bool, Float, Int


def threshold_at_specificity(
  positive: Bool[np.ndarray, "N"],
  scores: Float[np.ndarray, "N"],
  specificity: float,
) -> float:
  """The lowest threshold that calls at least this share of negatives negative.

  NaN without negatives.
  """
  negatives = np.sort(scores[~positive])
  if not len(negatives):
    return float("nan")
  below = int(np.ceil(specificity * len(negatives) - 1e-9))
  if below == 0:
    return float("-inf")
  # Just above the last score that has to be negative.
  return float(np.nextafter(negatives[below - 1], np.inf))


def threshold_at_best_f1(
  positive: Bool[np.ndarray, "N"], scores: Float[np.ndarray, "N"]
) -> float:
  """The score with the highest F1 as threshold; NaN without positives."""
  if not positive.any():
    return float("nan")
  order = np.argsort(-scores, kind="stable")
  ranked = scores[order]
  true = np.cumsum(positive[order])
  f1 = 2 * true / (np.arange(1, len(ranked) + 1) + positive.sum())
  # Films of one score are called alike.
  last = np.append(ranked[1:] != ranked[:-1], True)
  return float(ranked[last][np.argmax(f1[last])])


def confusion(
  labels: Float[np.ndarray, "N C"],
  called: Bool[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"],
) -> Int[np.ndarray, "C 2 2"]:
  """Counts by class, [truth, call], negative first."""
  positive = labels > 0.5
  cells = [
    [(valid & (positive == truth) & (called == call)).sum(axis=0)]
    for truth in (False, True)
    for call in (False, True)
  ]
  return np.stack(cells, axis=-1).reshape(labels.shape[1], 2, 2)


def sensitivity(counts: Int[np.ndarray, "C 2 2"]) -> Float[np.ndarray, "C"]:
  """Share of positives that are called so; NaN without positives."""
  return _share(counts[:, 1, 1], counts[:, 1].sum(axis=1))


def specificity(counts: Int[np.ndarray, "C 2 2"]) -> Float[np.ndarray, "C"]:
  """Share of negatives that are called so; NaN without negatives."""
  return _share(counts[:, 0, 0], counts[:, 0].sum(axis=1))


def accuracy(counts: Int[np.ndarray, "C 2 2"]) -> Float[np.ndarray, "C"]:
  """Share of right calls; NaN without films."""
  right = counts[:, 0, 0] + counts[:, 1, 1]
  return _share(right, counts.sum(axis=(1, 2)))


def f1_score(counts: Int[np.ndarray, "C 2 2"]) -> Float[np.ndarray, "C"]:
  """2 TP / (2 TP + FP + FN); 0 with neither positives nor positive calls."""
  twice = 2 * counts[:, 1, 1]
  return twice / np.maximum(twice + counts[:, 0, 1] + counts[:, 1, 0], 1)


def class_confusion(
  truth: Int[np.ndarray, "N"], called: Int[np.ndarray, "N"], *, classes: int
) -> Int[np.ndarray, "K K"]:
  """Counts of exclusive classes, [truth, call]."""
  flat = np.bincount(truth * classes + called, minlength=classes**2)
  return flat.reshape(classes, classes)


def _share(part, whole):
  return np.where(whole, part / np.maximum(whole, 1), np.nan)
