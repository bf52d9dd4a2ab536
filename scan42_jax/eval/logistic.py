"""Logistic regression on frozen features, by L-BFGS over all films at once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scan42_jax.eval.heads import FeatureSet, LinearHead, label_loss
from scan42_jax.eval.settings import LogisticSettings
from scan42_jax.types import Array, Bool, Float

_MOST_IDLE = 5  # Iterations that may pass without any gain.

Weights = tuple[Float[Array, "F C"], Float[Array, "C"]]


@dataclasses.dataclass(frozen=True)
class Scaling:
  """Mean and spread of each feature over the training films."""

  mean: Float[np.ndarray, "F"]
  std: Float[np.ndarray, "F"]

  @classmethod
  def of(cls, features: Float[np.ndarray, "N F"]) -> Scaling:
    """Measures features; a constant one keeps its scale."""
    std = features.std(axis=0, dtype=np.float64)
    mean = features.mean(axis=0, dtype=np.float64)
    return cls(mean, np.where(std > 1e-6, std, 1.0))

  def apply(self, features: Float[np.ndarray, "N F"]) -> np.ndarray:
    """Standardises."""
    return ((features - self.mean) / self.std).astype(np.float32)


def logistic_path(
  features: Float[np.ndarray, "N F"],
  labels: Float[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"],
  *,
  settings: LogisticSettings,
  feature_set: FeatureSet,
  scaling: Scaling | None = None,
  exclusive: bool = False,
) -> Iterator[tuple[float, LinearHead]]:
  """Fits one head per strength, each starting from the one before.

  Minimises the mean cross-entropy of each label (or of the exclusive classes)
  plus l2 / 2 |kernel|^2 on standardised features; the bias goes free.
  scikit-learn's C is 1 / (l2 N).

  Args:
    features: of the training films, the columns of `feature_set` alone.
    labels: 0 or 1.
    valid: labels that count.
    settings: strengths and solver.
    feature_set: what the heads see.
    scaling: that of other films than these.
    exclusive: the labels are classes.

  Yields:
    Strength and head; the standardisation is part of the head.
  """
  scaling = scaling or Scaling.of(features)
  x = scaling.apply(features).astype(np.float64)
  weights = np.zeros((x.shape[1], labels.shape[1])), np.zeros(labels.shape[1])
  for l2 in settings.l2:
    # Weak regularisation leaves gradients that float32 cannot tell from none.
    with jax.enable_x64(True):
      weights = _fit(
        weights,
        (x, labels, valid),
        l2,
        exclusive=exclusive,
        max_iterations=settings.max_iterations,
        tolerance=settings.tolerance,
      )
    kernel, bias = (np.asarray(w) for w in weights)
    kernel = kernel / scaling.std[:, None]
    bias = bias - scaling.mean @ kernel
    yield (
      l2,
      LinearHead(
        feature_set, kernel.astype(np.float32), bias.astype(np.float32)
      ),
    )


@functools.partial(
  jax.jit, static_argnames=("exclusive", "max_iterations", "tolerance")
)
def _fit(
  start: Weights,
  films: tuple[Float[Array, "N F"], Float[Array, "N C"], Bool[Array, "N C"]],
  l2: float,
  *,
  exclusive: bool,
  max_iterations: int,
  tolerance: float,
) -> Weights:
  """L-BFGS with zoom line search, until the gradient is flat."""
  x, labels, valid = films
  known = valid.sum(axis=0)
  if exclusive:
    known = valid.any(axis=1).sum()

  def loss(weights: Weights) -> Float[Array, ""]:
    logits = x @ weights[0] + weights[1]
    terms = label_loss(logits, labels, valid, exclusive=exclusive).sum(axis=0)
    penalty = l2 / 2 * jnp.sum(weights[0] ** 2)
    return (terms / jnp.maximum(known, 1)).sum() + penalty

  solver = optax.lbfgs()
  value_and_grad = optax.value_and_grad_from_state(loss)

  def iterate(carry):
    weights, state, number, _, before, idle = carry
    value, grad = value_and_grad(weights, state=state)
    updates, state = solver.update(
      grad, state, weights, value=value, grad=grad, value_fn=loss
    )
    weights = optax.apply_updates(weights, updates)
    # At the end of its precision a line search goes on looking for nothing.
    moved = before - value > jnp.finfo(value.dtype).eps * jnp.abs(value)
    idle = jnp.where(moved, 0, idle + 1)
    steepest = optax.tree.norm(grad, ord=jnp.inf)
    return weights, state, number + 1, steepest, value, idle

  def goes_on(carry):
    _, _, number, steepest, _, idle = carry
    unfinished = (steepest > tolerance) & (idle < _MOST_IDLE)
    return (number < max_iterations) & unfinished

  carry = start, solver.init(start), 0, jnp.inf, jnp.inf, 0
  return jax.lax.while_loop(goes_on, iterate, carry)[0]
