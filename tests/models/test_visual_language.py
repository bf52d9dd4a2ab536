"""The language model that sees: images in prompts, pooling, cached steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.models import cached_attention
from scan42_jax.models.language_model import LanguageModelConfig
from scan42_jax.models.visual_language import (
  IMAGE,
  VisualLanguageModel,
  num_visual_tokens,
)

CONFIG = LanguageModelConfig(
  vocab_size=9,
  width=16,
  depth=2,
  num_heads=4,
  num_key_heads=2,
  head_dim=4,
  hidden=24,
)
NET = VisualLanguageModel(CONFIG, projector_layers=2, grid=(2, 3))
APPLY = jax.jit(NET.apply, static_argnames=("room", "method"))
PATCHES = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
TOKENS = np.array(
  [[1, *[IMAGE] * 6, 3, 4, 5, 6], [2, *[IMAGE] * 6, 4, 8, 8, 1]], np.int32
)
VALID = np.ones(TOKENS.shape, bool)


@pytest.fixture(scope="module")
def params():
  shapes = jax.eval_shape(NET.init, jax.random.key(0), PATCHES, TOKENS, VALID)
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(np.float32) * 0.3, shapes
  )


def test_cached_steps_equal_the_whole_text_padded_or_not(params):
  whole = APPLY(params, PATCHES, TOKENS, VALID)
  pad = np.zeros((2, 3), np.int32)
  prompt = np.concatenate([pad, TOKENS[:, :8]], axis=1)
  valid = np.concatenate([pad > 0, VALID[:, :8]], axis=1)
  logits, state = APPLY(
    params, PATCHES, prompt, valid, room=3, method="prefill"
  )
  for step in range(8, 11):
    np.testing.assert_allclose(logits, whole[:, step - 1], atol=1e-4)
    logits, state = APPLY(
      params, TOKENS[:, step], state, jnp.int32(step + 3), method="extend"
    )
  np.testing.assert_allclose(logits, whole[:, 10], atol=1e-4)


def test_every_patch_is_seen_in_its_place(params):
  before = APPLY(params, PATCHES, TOKENS, VALID)
  for patch in range(6):
    moved = PATCHES.copy()
    moved[0, patch] = -moved[0, patch]
    after = APPLY(params, moved, TOKENS, VALID)
    np.testing.assert_array_equal(after[1], before[1])
    same = np.isclose(after[0], before[0], atol=1e-6).all(axis=-1)
    # Token 0 is a word, tokens 1 to 6 are the patches in their order.
    assert same[: patch + 1].all() and not same[patch + 1 :].any()


def test_pooled_patches_are_means_of_squares():
  net = VisualLanguageModel(CONFIG, projector_layers=4, grid=(3, 3), pool=2)
  patches = np.arange(18, dtype=np.float32).reshape(1, 9, 2)
  assert num_visual_tokens((3, 3), 2) == 4
  made = net.init(jax.random.key(0), patches, method="visual")
  square = patches.reshape(1, 3, 3, 2)
  means = np.stack(
    [
      square[:, rows, columns].mean(axis=(1, 2))
      for rows in (slice(0, 2), slice(2, 3))
      for columns in (slice(0, 2), slice(2, 3))
    ],
    axis=1,
  )
  plain = VisualLanguageModel(CONFIG, projector_layers=4, grid=(2, 2))
  np.testing.assert_allclose(
    net.apply(made, patches, method="visual"),
    plain.apply(made, means, method="visual"),
    atol=1e-6,
  )
  assert set(made["params"]["projector"]) == {"fc1", "fc2", "fc3", "fc4"}


def test_attention_weights_are_those_that_mix_the_values():
  rng = np.random.default_rng(2)
  size = 4  # Slots and channels alike, so that values can be unit vectors.
  queries = rng.normal(size=(2, 3, 4, size)).astype(np.float32)
  keys = rng.normal(size=(2, size, 2, size)).astype(np.float32)
  unit = np.broadcast_to(np.eye(size)[:, None], (size, 2, size))
  values = np.stack([unit, unit]).astype(np.float32)
  visible = rng.random((2, 1, 3, size)) < 0.7
  visible[..., 0] = True
  known = cached_attention.KeyValues(jnp.asarray(keys), jnp.asarray(values))
  mixed = cached_attention.attend(queries, known, visible).mean(axis=2)
  found = cached_attention.attention_weights(queries, known, visible)
  np.testing.assert_allclose(found, mixed, atol=1e-6)


@pytest.mark.parametrize("pool", [1, 2])
def test_a_token_looks_at_no_patch_that_is_hidden_from_it(params, pool):
  net = NET.clone(pool=pool)
  number = num_visual_tokens(NET.grid, pool)
  tokens = np.array([[1, *[IMAGE] * number, 3, 4]], np.int32)
  looks = net.apply(
    params, PATCHES[:1], tokens, np.ones_like(tokens, bool), method="look"
  )
  assert looks.shape == (1, number + 3, 6)
  np.testing.assert_allclose(looks[0, 1:].sum(axis=1), 1, atol=1e-5)
  # The first visual token sees itself and not the last patch of the row.
  assert looks[0, 1, 0] > 0 and looks[0, 1, 2] == 0
  assert (looks[0, -1] > 0).all()
  # Patches of one square share a token.
  assert np.isclose(looks[0, -1, 0], looks[0, -1, 1]) == (pool == 2)
