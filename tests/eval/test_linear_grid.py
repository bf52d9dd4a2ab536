"""Heads trained together come out as if each were trained alone."""

import jax
import numpy as np
import optax
import pytest

from scan42_jax.eval.heads import FeatureSet, mean_loss
from scan42_jax.eval.linear_grid import train_grid
from scan42_jax.eval.settings import LinearSettings
from scan42_jax.metrics.ranking import auroc

WIDTH = 4
SETS = [FeatureSet(n, mean) for n in (1, 4) for mean in (False, True)]
SETTINGS = LinearSettings(
  learning_rates=(1e-3, 1e-2, 0.1), steps=120, batch_size=16
)


def _data(seed, *, exclusive):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(100, 5 * WIDTH)).astype(np.float32)
  if exclusive:
    truth = (x[:, -3:] + rng.normal(size=(100, 3))).argmax(axis=1)
    y, known = np.eye(3, dtype=np.float32)[truth], rng.random(100) < 0.9
    return x, y, np.repeat(known[:, None], 3, axis=1)
  y = (x[:, -2:] + rng.normal(size=(100, 2)) > 0).astype(np.float32)
  return x, y, rng.random(y.shape) < 0.8


def _alone(x, y, valid, rate, *, exclusive, rows):
  """Trains one head with optax on the given rows of each step."""
  optimizer = optax.sgd(
    optax.cosine_decay_schedule(rate, len(rows)), momentum=0.9
  )
  head = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
  state = optimizer.init(head)

  @jax.jit
  def step(head, state, x, y, valid):
    grads = jax.grad(
      lambda h: mean_loss(x @ h[0] + h[1], y, valid, exclusive=exclusive)
    )(head)
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(head, updates), state

  for index in rows:
    head, state = step(head, state, x[index], y[index], valid[index])
  return head


def _rows(films):
  """The order of the films, by its rule: each epoch reshuffled."""
  needed = SETTINGS.steps * SETTINGS.batch_size
  epochs = [
    np.random.default_rng([0, e]).permutation(films)
    for e in range(-(-needed // films))
  ]
  return np.concatenate(epochs)[:needed].reshape(SETTINGS.steps, -1)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_grid_equals_each_head_alone(exclusive):
  x, y, valid = _data(0, exclusive=exclusive)
  grid = train_grid(
    x,
    y,
    valid,
    width=WIDTH,
    sets=SETS,
    settings=SETTINGS,
    exclusive=exclusive,
  )
  assert len(grid) == len(SETS) * len(SETTINGS.learning_rates)
  for one in grid:
    columns = one.head.features.columns(x.shape[1], width=WIDTH)
    kernel, bias = _alone(
      x[:, columns],
      y,
      valid,
      one.learning_rate,
      exclusive=exclusive,
      rows=_rows(len(x)),
    )
    np.testing.assert_allclose(one.head.kernel, kernel, atol=1e-5)
    np.testing.assert_allclose(one.head.bias, bias, atol=1e-5)


def test_heads_learn_and_see_their_own_columns():
  x, y, valid = _data(1, exclusive=False)
  grid = train_grid(x, y, valid, width=WIDTH, sets=SETS, settings=SETTINGS)
  best = {
    one.head.features: auroc(y, one.head.scores(x, width=WIDTH), valid).mean()
    for one in grid
    if one.learning_rate == 0.1
  }
  # The signal is in the mean patch token alone, which two of the sets hold.
  assert min(best[s] for s in SETS if s.patch_mean) > 0.8
  assert best[FeatureSet(1, False)] < 0.75


def test_sets_are_runs_of_columns():
  assert FeatureSet(1, False).columns(20, width=4) == slice(12, 16)
  assert FeatureSet(1, True).columns(20, width=4) == slice(12, 20)
  assert FeatureSet(4, True).columns(20, width=4) == slice(0, 20)
  with pytest.raises(ValueError, match="hold 1 layers"):
    FeatureSet(4, True).columns(8, width=4)
