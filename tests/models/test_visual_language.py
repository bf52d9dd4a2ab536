"""The language model that sees: images in prompts, pooling, cached steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
