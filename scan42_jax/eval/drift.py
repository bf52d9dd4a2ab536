"""How far a continued encoder has moved from the one it started from.

Continual pretraining can lose what the starting weights knew while every loss
falls; k-NN and CKA against the start show it.
"""

from __future__ import annotations

from collections.abc import Mapping

from scan42_jax.eval.features import LabelledFeatures
from scan42_jax.eval.monitors import knn_auroc
from scan42_jax.metrics.representation import linear_cka
from scan42_jax.settings import DriftSettings


def drift_monitors(
  now: LabelledFeatures, start: LabelledFeatures
) -> dict[str, float]:
  """Compares the features of the same held-out films.

  Args:
    now: of the encoder in training.
    start: of the encoder that it started from.

  Returns:
    `cka_to_start` of the class tokens and, with labels, `knn_gain`, the k-NN
    AUROC of now less that of the start.
  """
  monitors = {"cka_to_start": linear_cka(now.cls, start.cls)}
  areas = knn_auroc(now), knn_auroc(start)
  if None not in areas:
    monitors["knn_gain"] = areas[0] - areas[1]
  return monitors


def drift_problem(
  monitors: Mapping[str, float], settings: DriftSettings
) -> str | None:
  """Says in words which limit is crossed, None where none is."""
  cka = monitors["cka_to_start"]
  if cka < settings.min_cka:
    return (
      f"features have drifted: CKA to the start is {cka:.3f}, below"
      f" config.drift.min_cka={settings.min_cka}"
    )
  gain = monitors.get("knn_gain", 0.0)
  if gain < -settings.max_knn_loss:
    return (
      f"features have lost findings: k-NN AUROC is {-gain:.3f} below that of"
      f" the start, more than config.drift.max_knn_loss={settings.max_knn_loss}"
    )
  return None
