"""The one number that choices are made by, always on validation films."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

import numpy as np

from scan42_jax.metrics.ranking import auprc, auroc
from scan42_jax.types import Bool, Float

Metric = Literal["auroc", "auprc"]
Candidate = TypeVar("Candidate")

_AREAS = {"auroc": auroc, "auprc": auprc}


def macro_mean(
  labels: Float[np.ndarray, "N C"],
  scores: Float[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"],
  *,
  metric: Metric = "auroc",
  columns: Sequence[int] | None = None,
) -> float:
  """Mean area over the labels that have both classes.

  Args:
    labels: 0 or 1.
    scores: any monotone score.
    valid: labels that count.
    metric: which area.
    columns: labels to look at; all by default.

  Returns:
    NaN where no label has both classes, -inf for scores that are not finite.
  """
  if not np.isfinite(scores).all():
    return -math.inf
  kept = slice(None) if columns is None else list(columns)
  y, s, v = labels[:, kept], scores[:, kept], valid[:, kept]
  negatives = ((y < 0.5) & v).any(axis=0)
  areas = np.where(negatives, _AREAS[metric](y, s, v), np.nan)
  defined = areas[np.isfinite(areas)]
  return float(defined.mean()) if len(defined) else math.nan


def best_of(
  candidates: Iterable[Candidate], judge: Callable[[Candidate], float]
) -> tuple[Candidate, list[float]]:
  """Returns the candidate with the highest judgement, the first of equals.

  Returns:
    The candidate, and what was judged of each in their order.

  Raises:
    ValueError: nothing could be judged.
  """
  candidates = list(candidates)
  values = [judge(candidate) for candidate in candidates]
  if all(math.isnan(value) for value in values):
    raise ValueError(
      "nothing can be chosen: no label has both positives and negatives among"
      " the validation films"
    )
  return candidates[int(np.nanargmax(values))], values
