"""A linear probe: logistic regression on frozen features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scan42_jax.eval.features import LabelledFeatures
from scan42_jax.metrics.bootstrap import interval, patient_bootstrap
from scan42_jax.metrics.ranking import auroc
from scan42_jax.types import Array, Bool, Float

L2_STRENGTHS = tuple(10.0**e for e in range(-5, 1))
"""Candidates; validation picks one, never the test films."""


@dataclasses.dataclass(frozen=True)
class LinearProbe:
  """One logistic regression per label, on standardised features."""

  mean: Float[np.ndarray, "F"]
  std: Float[np.ndarray, "F"]
  kernel: Float[np.ndarray, "F C"]
  bias: Float[np.ndarray, "C"]
  l2: float

  def scores(self, features: Float[np.ndarray, "N F"]) -> np.ndarray:
    """Returns logits [N, C]."""
    return (features - self.mean) / self.std @ self.kernel + self.bias


def fit_linear_probe(
  features: Float[np.ndarray, "N F"],
  labels: Float[np.ndarray, "N C"],
  *,
  valid: Bool[np.ndarray, "N C"],
  l2_strengths: Sequence[float] = L2_STRENGTHS,
  validation: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> LinearProbe:
  """Fits one probe per strength and keeps the best on validation.

  Args:
    features: of the training films.
    labels: 0 or 1.
    valid: labels that count.
    l2_strengths: weights of mean squared coefficients in the loss.
    validation: features, labels and valid of other patients' films.
  """
  mean = features.mean(axis=0)
  std = np.maximum(features.std(axis=0), 1e-6)
  x = (features - mean) / std

  def macro_auroc(probe: LinearProbe) -> float:
    held_out, truth, known = validation
    return float(np.nanmean(auroc(truth, probe.scores(held_out), known)))

  probes = []
  for l2 in l2_strengths:
    kernel, bias = _fit(x, labels, valid, l2)
    probes.append(
      LinearProbe(mean, std, np.asarray(kernel), np.asarray(bias), l2)
    )
  return max(probes, key=macro_auroc)


@jax.jit
def _fit(
  x: Float[Array, "N F"],
  labels: Float[Array, "N C"],
  valid: Bool[Array, "N C"],
  l2: float,
) -> tuple[Float[Array, "F C"], Float[Array, "C"]]:
  """Minimises masked cross-entropy + l2 |kernel|^2 / 2 by L-BFGS."""

  def loss(params):
    logits = x @ params[0] + params[1]
    entropy = optax.sigmoid_binary_cross_entropy(logits, labels)
    by_label = (entropy * valid).sum(0) / jnp.maximum(valid.sum(0), 1)
    return by_label.sum() + l2 / 2 * jnp.sum(params[0] ** 2)

  solver = optax.lbfgs()
  value_and_grad = optax.value_and_grad_from_state(loss)

  def iterate(_, carry):
    params, state = carry
    value, grad = value_and_grad(params, state=state)
    updates, state = solver.update(
      grad, state, params, value=value, grad=grad, value_fn=loss
    )
    return optax.apply_updates(params, updates), state

  start = (jnp.zeros((x.shape[1], labels.shape[1])), jnp.zeros(labels.shape[1]))
  params, _ = jax.lax.fori_loop(0, 100, iterate, (start, solver.init(start)))
  return params


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
  probe = fit_linear_probe(
    train.features,
    train.labels,
    valid=train.valid,
    validation=(validation.features, validation.labels, validation.valid),
  )
  return probe.scores(test.features)
