"""What pretraining has gained: linear probes on two encoders, compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scan42_jax.eval.choosing import best_of, macro_mean
from scan42_jax.eval.features import LabelledFeatures
from scan42_jax.eval.heads import FeatureSet
from scan42_jax.eval.logistic import logistic_path
from scan42_jax.eval.settings import LogisticSettings
from scan42_jax.metrics.bootstrap import interval, patient_bootstrap
from scan42_jax.metrics.ranking import auroc


def compare_probes(
  splits: Sequence[tuple[LabelledFeatures, LabelledFeatures]],
) -> dict[str, Any]:
  """Compares linear probes on two encoders.

  Args:
    splits: (before, after) features of the train, validation and test films.

  Returns:
    Macro AUROC on test of `untrained` and `trained`, their `gain` with the 95 %
    interval of a paired bootstrap by patient, `test_films`, `test_patients`,
    and by label `label_auroc`, NaN where undefined and then not in the mean.
  """
  scores = [
    _probe_scores([split[which] for split in splits]) for which in (0, 1)
  ]
  test = splits[2][0]

  def by_label(s: np.ndarray, rows: slice | np.ndarray = slice(None)):
    return auroc(test.labels[rows], s[rows], test.valid[rows])

  def both(rows: np.ndarray) -> np.ndarray:
    return np.array([np.nanmean(by_label(s, rows)) for s in scores])

  untrained, trained = both(np.arange(len(test.labels)))
  samples = patient_bootstrap(both, test.patients)
  low, high = interval(samples[:, 1] - samples[:, 0])
  return {
    "untrained": float(untrained),
    "trained": float(trained),
    "gain": float(trained - untrained),
    "gain_low": float(low),
    "gain_high": float(high),
    "test_films": len(test.labels),
    "test_patients": len(set(test.patients) - {""}),
    "label_auroc": {
      which: dict(zip(test.label_names, areas.tolist(), strict=True))
      for which, areas in zip(
        ("untrained", "trained"), map(by_label, scores), strict=True
      )
    },
  }


def _probe_scores(splits: Sequence[LabelledFeatures]) -> np.ndarray:
  """Test scores of a probe fitted on train and chosen on validation."""
  train, validation, test = splits
  width = train.features.shape[1] // 2
  heads = [
    head
    for _, head in logistic_path(
      train.features,
      train.labels,
      train.valid,
      settings=LogisticSettings(),
      feature_set=FeatureSet(1, True),
    )
  ]

  def judge(head) -> float:
    scores = head.scores(validation.features, width=width)
    return macro_mean(validation.labels, scores, validation.valid)

  return best_of(heads, judge)[0].scores(test.features, width=width)
