"""Whether a probability of 0.3 means 3 in 10."""

from __future__ import annotations

import numpy as np

from scan42_jax.types import Bool, Float, Int


def brier(
  labels: Float[np.ndarray, "N C"],
  probabilities: Float[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"],
) -> Float[np.ndarray, "C"]:
  """Mean squared distance of probability and label, NaN without any label.

  Brier 1950, for each class by itself.
  """
  squares = (probabilities - labels) ** 2 * valid
  count = valid.sum(axis=0)
  return np.where(count, squares.sum(axis=0) / np.maximum(count, 1), np.nan)


def calibration_error(
  labels: Float[np.ndarray, "N C"],
  probabilities: Float[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"],
  *,
  bins: int = 15,
) -> Float[np.ndarray, "C"]:
  """Expected calibration error of each class, NaN without any label.

  Films are sorted into bins of equal width by probability; the mean over films
  of |mean probability - share of positives| of their bin. Guo et al. 2017,
  https://arxiv.org/abs/1706.04599, for the positive class.
  """
  errors = []
  for y, p, keep in zip(labels.T, probabilities.T, valid.T, strict=True):
    mean, share, count = reliability(y[keep], p[keep], bins=bins)
    gap = np.abs(mean - share)[count > 0]
    weights = count[count > 0]
    errors.append(
      (gap * weights).sum() / weights.sum() if len(weights) else np.nan
    )
  return np.array(errors)


def reliability(
  labels: Float[np.ndarray, "N"],
  probabilities: Float[np.ndarray, "N"],
  *,
  bins: int = 10,
) -> tuple[
  Float[np.ndarray, "bins"], Float[np.ndarray, "bins"], Int[np.ndarray, "bins"]
]:
  """Returns mean probability, share of positives and films of each bin.

  The first two are NaN in empty bins.
  """
  place = np.minimum((probabilities * bins).astype(int), bins - 1)
  count = np.bincount(place, minlength=bins)
  filled = np.where(count, count, np.nan)
  mean, share = (
    np.bincount(place, weights=x, minlength=bins) / filled
    for x in (probabilities, labels)
  )
  return mean, share, count
