"""Tokens on disk are the encoder's, and a broken-off table is finished."""

import dataclasses

import numpy as np
import pytest
import small_evaluation

from scan42_jax.data.images import decode_film
from scan42_jax.data.sources import open_films
from scan42_jax.encoder import load_encoder
from scan42_jax.eval.settings import FeatureSettings
from scan42_jax.eval.token_cache import TokenReader, cached_tokens


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
  encoder, data_dir = small_evaluation.prepare(tmp_path_factory.mktemp("small"))
  return load_encoder(encoder), open_films(data_dir, "folder", "test")


def _films(source):
  return [decode_film(source[i]["image"]) for i in range(len(source))]


def test_tokens_are_those_of_the_encoder(opened, tmp_path):
  encoder, source = opened
  reader = TokenReader(encoder, FeatureSettings(batch_size=1))
  tokens = cached_tokens(reader, source, tmp_path)
  width = encoder.config.width
  assert tokens.shape == (len(source), 3 * width)  # Two blocks, and the mean.
  features = encoder(_films(source))
  np.testing.assert_allclose(
    tokens[:, width : 2 * width], features.cls, atol=1e-5
  )
  np.testing.assert_allclose(
    tokens[:, 2 * width :], features.patches.mean(axis=(1, 2)), atol=1e-5
  )


def test_the_published_slip_takes_patches(opened, tmp_path):
  encoder, source = opened
  settings = FeatureSettings(batch_size=1, token="first_patch")
  tokens = cached_tokens(TokenReader(encoder, settings), source, tmp_path)
  patches = encoder(_films(source)).patches
  patches = patches.reshape(len(patches), -1, patches.shape[-1])
  width = encoder.config.width
  np.testing.assert_allclose(
    tokens[:, width : 2 * width], patches[:, 0], atol=1e-5
  )
  np.testing.assert_allclose(
    tokens[:, 2 * width :], patches[:, 1:].mean(axis=1), atol=1e-5
  )


def test_a_table_that_was_broken_off_is_finished(opened, tmp_path, monkeypatch):
  encoder, source = opened
  reader = TokenReader(encoder, FeatureSettings(batch_size=1))
  whole = cached_tokens(reader, source, tmp_path / "whole")
  read, batches = TokenReader.read, []

  def break_off(self, pixels):
    batches.append(len(pixels))
    if len(batches) == 2:
      raise KeyboardInterrupt
    return read(self, pixels)

  monkeypatch.setattr(TokenReader, "read", break_off)
  with pytest.raises(KeyboardInterrupt):
    cached_tokens(reader, source, tmp_path / "part")
  tokens = cached_tokens(reader, source, tmp_path / "part")
  np.testing.assert_array_equal(tokens, whole)
  assert batches == [8, 4, 4]  # The first batch was not read again.


def test_another_encoder_gets_a_table_of_its_own(opened, tmp_path):
  encoder, source = opened
  for dropped in (False, True):
    settings = FeatureSettings(batch_size=1, drop_registers=dropped)
    cached_tokens(TokenReader(encoder, settings), source, tmp_path)
  assert len(list(tmp_path.iterdir())) == 2


def test_films_in_sizes_of_their_own_are_refused(opened):
  encoder, _ = opened
  free = encoder.with_preprocessing(crop_px=None)
  with pytest.raises(ValueError, match="needs a centre crop or a squash"):
    TokenReader(free, FeatureSettings())


def test_stored_equalisation_needs_an_encoder_that_wants_it(opened, tmp_path):
  encoder, source = opened
  reader = TokenReader(encoder, FeatureSettings(batch_size=1))
  stored = type("Equalised", (), vars(source) | {"equalized": True})()
  with pytest.raises(ValueError, match="stored equalised"):
    cached_tokens(reader, stored, tmp_path)
  assert dataclasses.asdict(encoder.preprocessing)["equalize"] is False
