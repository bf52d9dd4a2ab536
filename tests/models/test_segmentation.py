"""Heads of segmentation: grids, layers, enlargement, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax import paths
from scan42_jax.models.segmentation import (
  HeadSettings,
  SegmentationNet,
  enlarge,
)
from scan42_jax.models.vit import VisionTransformer, ViTConfig


def _net(head, depth=3):
  config = ViTConfig(
    width=16, depth=depth, num_heads=2, patch_size=4, image_size=12
  )
  return SegmentationNet(VisionTransformer(config), head, num_classes=4)


def _params(net):
  encoder = net.encoder.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
  return encoder["params"], net.init_head(jax.random.key(1))


@pytest.mark.parametrize(
  "head, shape",
  [
    (HeadSettings("linear"), (2, 5, 3, 4)),
    (HeadSettings("decoder", layers=2, width=16, stages=2), (2, 20, 12, 4)),
  ],
)
def test_logits_lie_on_the_heads_grid(head, shape):
  net = _net(head)
  encoder, params = _params(net)
  images = jax.random.normal(jax.random.key(2), (2, 20, 12, 3))
  logits = jax.jit(net.logits)(encoder, params, images)
  assert logits.shape == shape
  assert logits.dtype == jnp.float32


def test_the_linear_head_is_one_matrix_on_the_last_patch_tokens():
  net = _net(HeadSettings("linear"))
  encoder, params = _params(net)
  images = jax.random.normal(jax.random.key(2), (1, 8, 12, 3))
  (tokens,) = net.encoder.apply({"params": encoder}, images)
  kernel, bias = (params["classes"][name] for name in ("kernel", "bias"))
  np.testing.assert_allclose(
    net.logits(encoder, params, images).reshape(6, 4),
    tokens.patches[0] @ kernel + bias,
    rtol=1e-5,
    atol=1e-6,
  )


@pytest.mark.parametrize(
  "depth, layers, expected",
  [(12, 4, (2, 5, 8, 11)), (24, 4, (5, 11, 17, 23)), (3, 4, (0, 1, 2))],
)
def test_layers_are_spread_and_end_in_the_last(depth, layers, expected):
  assert _net(HeadSettings("decoder", layers), depth).layers == expected
  assert _net(HeadSettings("linear"), depth).layers == (depth - 1,)


def test_every_parameter_of_the_decoder_learns():
  net = _net(HeadSettings("decoder", layers=3, width=16, stages=1))
  encoder, params = _params(net)
  images = jax.random.normal(jax.random.key(2), (1, 8, 8, 3))

  def loss(head):
    logits = net.logits(encoder, head, images)
    return jnp.sum(jax.nn.log_softmax(logits)[..., 0])

  for name, gradient in paths.flatten(jax.jit(jax.grad(loss))(params)).items():
    assert jnp.abs(gradient).max() > 0, name


def test_enlarging_is_bilinear_between_centres():
  row = jnp.asarray([0.0, 1.0, 3.0])
  large = enlarge(row[None, None, :, None], (1, 6))[0, 0, :, 0]
  np.testing.assert_allclose(large, [0, 0.25, 0.75, 1.5, 2.5, 3], atol=1e-6)
