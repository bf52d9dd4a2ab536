"""Films that an encoder learns from are moved, and only in training."""

import jax
import jax.numpy as jnp
import numpy as np
from tiny_encoder import write_encoder

from scan42_jax.encoder import load_encoder
from scan42_jax.eval.reports import seeing
from scan42_jax.eval.reports.settings import MovesSettings
from scan42_jax.models.report_decoder import ReportDecoder, ReportDecoderConfig

DECODER = ReportDecoder(
  ReportDecoderConfig(
    vocab_size=9, width=16, depth=1, num_heads=2, max_tokens=8, dropout=0.0
  )
)
TOKENS = np.array([[1, 2, 3]] * 2, np.int32)
VALID = np.ones(TOKENS.shape, bool)


def test_films_are_seen_through_the_encoder(tmp_path):
  encoder = load_encoder(write_encoder(tmp_path / "e")).with_preprocessing(
    resize_px=24, crop_px=None, squash=True
  )
  films = np.random.default_rng(0).integers(0, 256, (2, 24, 24), np.uint8)
  patches = encoder(list(films)).patches
  patches = patches.reshape(2, -1, patches.shape[-1])
  params = DECODER.init(jax.random.key(0), patches, TOKENS, VALID)["params"]
  net = seeing.SeeingDecoder(
    encoder.net, DECODER, encoder.preprocessing, MovesSettings(shift=0.3)
  )
  both = {"params": {**params, seeing.ENCODER: encoder.params}}
  alone = {"params": params}
  expected = DECODER.apply(alone, patches, TOKENS, VALID)
  found = net.apply(both, films, TOKENS, VALID)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  looks = net.apply(both, films, TOKENS, VALID, method="look")
  np.testing.assert_allclose(
    looks,
    DECODER.apply(alone, patches, TOKENS, VALID, method="look"),
    atol=1e-5,
  )
  rngs = {"dropout": jax.random.key(1)}
  trained = net.apply(both, films, TOKENS, VALID, train=True, rngs=rngs)
  assert not np.allclose(trained, expected, atol=1e-3)


def test_moves_keep_their_limits_and_mirror_nothing():
  films = np.zeros((64, 21, 21), np.float32)
  films[:, 9:12, 9:12] = 1
  films[:, 9:12, 13:16] = 2
  moves = MovesSettings(degrees=10, shift=0.1, zoom=0.1)
  found = np.asarray(seeing.moved(jnp.asarray(films), jax.random.key(0), moves))
  centre, right = (
    np.array([np.argwhere(film == v).mean(axis=0) for film in found])
    for v in (1, 2)
  )
  shift = np.abs(centre - 10)
  assert shift.max() > 1 and shift.max() <= 2.1 + 1
  assert (right[:, 1] > centre[:, 1]).all()
  assert len(np.unique(centre, axis=0)) > 4
