"""Signs of life and of collapse, on films that training never sees.

A falling loss is no evidence of learning: collapse has one too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scan42_jax.eval.features import LabelledFeatures
from scan42_jax.losses.teacher import center_and_sharpen
from scan42_jax.metrics.ranking import auroc
from scan42_jax.metrics.representation import effective_rank, knn_scores
from scan42_jax.types import Array, Float


def held_out_monitors(
  held_out: LabelledFeatures,
  dino_logits: Callable[[Array], Array],
  *,
  center: Float[Array, "K"],
  temperature: Float[Array, ""] | float,
) -> dict[str, float]:
  """Measures the teacher on held-out films.

  Args:
    held_out: their features; the class token comes first.
    dino_logits: class tokens to prototype logits of the teacher.
    center: of the teacher's logits.
    temperature: of the teacher.

  Returns:
    `knn_auroc` (macro mean over the labels that have both classes; absent
    without labels), `effective_rank`, `teacher_entropy` in nats, and
    `prototype_use`, distinct favourite prototypes over the most possible.
  """
  logits = dino_logits(held_out.cls)
  probs = np.asarray(center_and_sharpen(logits, center, temperature))
  entropy = -np.sum(probs * np.log(np.maximum(probs, 1e-30)), axis=1)
  favourites = len(np.unique(probs.argmax(axis=1)))
  monitors = {
    "effective_rank": effective_rank(held_out.features),
    "teacher_entropy": float(entropy.mean()),
    "prototype_use": favourites / min(probs.shape),
  }
  area = knn_auroc(held_out)
  return monitors if area is None else monitors | {"knn_auroc": area}


def knn_auroc(held_out: LabelledFeatures) -> float | None:
  """Mean over the labels that have both classes, None if none has."""
  scores = knn_scores(
    held_out.features,
    held_out.labels,
    valid=held_out.valid,
    patients=held_out.patients,
  )
  areas = auroc(held_out.labels, scores, held_out.valid)
  return float(np.nanmean(areas)) if np.isfinite(areas).any() else None
