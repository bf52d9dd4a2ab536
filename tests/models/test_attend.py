"""Attention in parts against the plain formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.models import attend as attend_module
from scan42_jax.models.attend import attend
from scan42_jax.sharding import BATCH_AXES, make_mesh

SHAPE = (2, 19, 3, 8)


@pytest.fixture
def in_parts(monkeypatch):
  """Makes 19 tokens a long row, in parts of 5, 5, 5 and 4 queries."""
  monkeypatch.setattr(attend_module, "_SHORT", 0)
  monkeypatch.setattr(attend_module, "_QUERIES", 5)


@pytest.fixture
def by_heads(monkeypatch):
  """As on a single CPU: each head in parts of 7, 7 and 5 queries."""
  monkeypatch.setattr(attend_module, "_way", lambda _: attend_module._by_heads)
  monkeypatch.setattr(attend_module, "_QUERIES_OF_A_HEAD", 7)


def _inputs(dtype=jnp.float32, shape=SHAPE):
  keys = jax.random.split(jax.random.key(0), 3)
  return [jax.random.normal(key, shape, dtype) for key in keys]


def _plain(q, k, v):
  scores = jnp.einsum("nqae,nkae->naqk", q, k) / np.sqrt(q.shape[-1])
  return jnp.einsum("naqk,nkae->nqae", jax.nn.softmax(scores), v)


def _cube(f):
  return lambda *x: jnp.sum(f(*x) ** 3)


def _assert_close(ours, expected, **tolerance):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, expected
  )


@pytest.mark.parametrize("way", [None, "in_parts", "by_heads"])
def test_values_and_gradients(request, way):
  if way:
    request.getfixturevalue(way)
  inputs = _inputs()
  _assert_close(attend(*inputs), _plain(*inputs), rtol=1e-5, atol=1e-5)
  ours, expected = (
    jax.grad(_cube(f), argnums=(0, 1, 2))(*inputs) for f in (attend, _plain)
  )
  _assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["in_parts", "by_heads"])
def test_half_precision_is_near(request, way):
  request.getfixturevalue(way)
  ours = attend(*_inputs(jnp.bfloat16))
  assert ours.dtype == jnp.bfloat16
  expected = _plain(*(x.astype(jnp.float32) for x in _inputs(jnp.bfloat16)))
  np.testing.assert_allclose(ours.astype(jnp.float32), expected, atol=0.05)


@pytest.mark.parametrize("way", ["in_parts", "by_heads"])
def test_large_scores_do_not_overflow(request, way):
  request.getfixturevalue(way)
  q, k, v = _inputs()
  assert jnp.isfinite(attend(1e3 * q, 1e3 * k, v)).all()


def test_parts_on_a_mesh(in_parts):
  inputs = _inputs(shape=(4, *SHAPE[1:]))
  mesh = make_mesh((2, 2, 2))
  with jax.set_mesh(mesh):
    place = jax.NamedSharding(mesh, jax.P(BATCH_AXES))
    ours = jax.jit(jax.grad(_cube(attend)))(*jax.device_put(inputs, place))
  expected = jax.grad(_cube(_plain))(*inputs)
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("devices", [1, 8])
def test_long_rows_keep_no_square_of_tokens(monkeypatch, devices):
  monkeypatch.setattr(jax, "device_count", lambda: devices)
  tokens = 1374
  x = jax.ShapeDtypeStruct((1, tokens, 1, 8), jnp.float32)
  kept = jax.eval_shape(lambda *x: jax.vjp(attend, *x)[1], x, x, x)
  assert max(leaf.size for leaf in jax.tree.leaves(kept)) < tokens**2 / 50
