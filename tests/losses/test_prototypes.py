"""Cross-entropy in chunks against the same with all logits at hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.losses import prototypes
from scan42_jax.losses.dino import cross_entropy
from scan42_jax.losses.prototypes import (
  PrototypeTargets,
  balance_prototypes,
  weighted_cross_entropy,
)
from scan42_jax.losses.teacher import sinkhorn_knopp
from scan42_jax.sharding import BATCH_AXES, make_mesh

GROUPS, SLOTS, WIDTH, NUM = 4, 7, 6, 32


@pytest.fixture(params=[1, 3, 100], ids=["1 slot", "3 slots", "all slots"])
def small_chunks(request, monkeypatch):
  """Lets a chunk hold so many slots of all groups."""
  most = request.param * GROUPS * NUM
  monkeypatch.setattr(prototypes, "_CHUNK_LOGITS", most)


def _draw(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


def _inputs():
  weights = jnp.abs(_draw(4, GROUPS, SLOTS)) * (_draw(5, GROUPS, SLOTS) > -0.5)
  targets = PrototypeTargets(
    _draw(1, GROUPS, SLOTS, WIDTH), _draw(2, WIDTH, NUM), _draw(3, NUM), 0.3
  )
  return _draw(0, GROUPS, SLOTS, WIDTH), _draw(6, WIDTH, NUM), targets, weights


def _dense(rows, kernel, targets, weights):
  probs = targets.probs(targets.rows)
  losses = cross_entropy(rows @ kernel, probs, temperature=0.2)
  return jnp.sum(losses * weights)


def _chunked(rows, kernel, targets, weights):
  return weighted_cross_entropy(rows, kernel, targets, weights, 0.2)


def test_loss_and_gradients_equal_those_of_all_logits(small_chunks):
  inputs = _inputs()
  # The factor shows that the gradient follows what comes after the loss.
  expected, ours = (
    jax.value_and_grad(lambda *x, f=f: 3 * f(*x), argnums=(0, 1))(*inputs)
    for f in (_dense, _chunked)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5),
    ours,
    expected,
  )
  np.testing.assert_allclose(_chunked(*inputs), _dense(*inputs), rtol=1e-5)


def test_gradients_are_the_same_on_a_mesh(small_chunks):
  gradient = jax.grad(_chunked, argnums=(0, 1))
  inputs = _inputs()
  expected = gradient(*inputs)
  mesh = make_mesh((2, 2, 2))
  place = jax.NamedSharding(mesh, jax.P(BATCH_AXES))
  with jax.set_mesh(mesh):
    rows, weights = jax.device_put((inputs[0], inputs[3]), place)
    ours = jax.jit(gradient)(rows, *inputs[1:3], weights)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5),
    jax.device_get(ours),
    jax.device_get(expected),
  )


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_balanced_prototypes_are_sinkhorn_knopps(small_chunks, scale):
  rows, kernel, _, _ = _inputs()
  valid = _draw(7, GROUPS, SLOTS) > -0.5
  logits = (scale * rows) @ kernel
  bias = balance_prototypes(scale * rows, kernel, 0.4, valid=valid)
  expected = sinkhorn_knopp(logits[valid], 0.4)
  ours = PrototypeTargets(rows, kernel, bias, 0.4).probs(scale * rows[valid])
  assert jnp.isfinite(ours).all()
  if scale == 1.0:
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_half_precision_rows_get_half_precision_gradients():
  rows, kernel, targets, weights = _inputs()
  ours = jax.grad(_chunked, argnums=(0, 1))(
    rows.astype(jnp.bfloat16), kernel, targets, weights
  )
  expected = jax.grad(_dense, argnums=(0, 1))(rows, kernel, targets, weights)
  assert [x.dtype for x in ours] == [jnp.bfloat16, jnp.float32]
  for a, b in zip(ours, expected, strict=True):
    assert jnp.linalg.norm(a - b) < 0.03 * jnp.linalg.norm(b)
