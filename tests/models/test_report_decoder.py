"""The report decoder: causal, reads its prompt, cached equal to uncached."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.models.report_decoder import ReportDecoder, ReportDecoderConfig

DECODER = ReportDecoder(
  ReportDecoderConfig(
    vocab_size=11, width=16, depth=2, num_heads=2, max_tokens=16
  )
)

APPLY = jax.jit(DECODER.apply, static_argnames=("room", "method", "train"))


def _inputs(*, seed=0, texts=3, length=7):
  rng = np.random.default_rng(seed)
  patches = rng.normal(size=(texts, 5, 6)).astype(np.float32)
  tokens = rng.integers(11, size=(texts, length)).astype(np.int32)
  return patches, tokens, np.ones((texts, length), bool)


@pytest.fixture(scope="module")
def params():
  shapes = jax.eval_shape(DECODER.init, jax.random.key(0), *_inputs())
  rng = np.random.default_rng(1)
  # Larger than at the start of training, so that every path leaves its mark.
  return jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(np.float32) * 0.3, shapes
  )


def test_cached_steps_equal_the_whole_text(params):
  patches, tokens, valid = _inputs()
  whole = APPLY(params, patches, tokens, valid)
  logits, state = APPLY(
    params, patches, tokens[:, :3], valid[:, :3], room=4, method="prefill"
  )
  for step in range(3, 7):
    np.testing.assert_allclose(logits, whole[:, step - 1], atol=1e-5)
    logits, state = APPLY(
      params, tokens[:, step], state, jnp.int32(step), method="extend"
    )
  np.testing.assert_allclose(logits, whole[:, 6], atol=1e-5)


def test_padding_on_either_side_changes_nothing(params):
  patches, tokens, valid = _inputs(length=4)
  alone = APPLY(params, patches, tokens, valid)
  pad = np.zeros((3, 3), np.int32)
  for order in (1, -1):
    padded, there = (
      np.concatenate([pad.astype(x.dtype), x][::order], axis=1)
      for x in (tokens, valid)
    )
    found = APPLY(params, patches, padded, there)
    found = found[:, 3:] if order == 1 else found[:, :4]
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_later_tokens_and_other_films_are_not_seen(params):
  patches, tokens, valid = _inputs()
  before = APPLY(params, patches, tokens, valid)
  changed = tokens.copy()
  changed[:, 4] = (changed[:, 4] + 1) % 11
  # Never in place: the call before may still be reading them.
  turned = patches * np.float32([1, -1, 1])[:, None, None]
  after = APPLY(params, turned, changed, valid)
  same = np.array(before[:, :4]) == np.array(after[:, :4])
  assert same[[0, 2]].all()
  assert not np.allclose(before[1, :4], after[1, :4])
  assert not np.allclose(before[0, 4], after[0, 4])


def test_looks_sum_to_one_and_follow_the_patches(params):
  patches, tokens, valid = _inputs()
  looks = APPLY(params, patches, tokens, valid, method="look")
  assert looks.shape == (3, 7, 5)
  np.testing.assert_allclose(looks.sum(axis=-1), 1, atol=1e-5)
  order = [4, 2, 0, 1, 3]
  moved = APPLY(params, patches[:, order], tokens, valid, method="look")
  np.testing.assert_allclose(moved, looks[..., np.array(order)], atol=1e-5)


def test_dropout_is_of_training_alone(params):
  patches, tokens, valid = _inputs()
  one, two = (
    APPLY(
      params,
      patches,
      tokens,
      valid,
      train=True,
      rngs={"dropout": jax.random.key(seed)},
    )
    for seed in (0, 1)
  )
  assert not np.allclose(one, two)
