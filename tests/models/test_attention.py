"""Attention weights against the block's own output and against numpy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.models.attention import encode_with_attention
from scan42_jax.models.layers import Attention, layer_norm
from scan42_jax.models.vit import VisionTransformer, ViTConfig

CONFIG = ViTConfig(
  width=24,
  depth=2,
  num_heads=3,
  patch_size=4,
  num_registers=2,
  image_size=16,
  layer_scale=0.5,
)


def _example(**changes):
  net = VisionTransformer(dataclasses.replace(CONFIG, **changes))
  images = jax.random.normal(jax.random.key(1), (2, 16, 12, 3))
  params = net.init(jax.random.key(0), images)["params"]
  # Fresh projections give nearly even weights, which any code would return.
  params = jax.tree.map(lambda x: x * 8, params)
  return net, params, images


def _tokens(output):
  return np.concatenate(
    [output.cls[:, None], output.registers, output.patches], axis=1
  )


def _direct(net, params, images):
  """Softmax of all tokens over all tokens of the last block, in float64."""
  (before,) = net.apply({"params": params}, images, layers=[0], norm=False)
  block = params["block_01"]
  x = layer_norm(jnp.float32, "n").apply(
    {"params": block["norm1"]}, _tokens(before)
  )
  kernel, bias = block["attn"]["qkv"]["kernel"], block["attn"]["qkv"]["bias"]
  qkv = np.asarray(x, np.float64) @ np.asarray(kernel) + np.asarray(bias)
  q, k, v = np.split(qkv, 3, axis=-1)
  heads = lambda z: z.reshape(*z.shape[:2], net.config.num_heads, -1)  # noqa: E731
  q, k, v = heads(q), heads(k), heads(v)
  scores = np.einsum("nqae,nkae->naqk", q, k) / np.sqrt(q.shape[-1])
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  return x, v, weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize("registers", [0, 2])
def test_weights_are_the_direct_softmax(registers):
  net, params, images = _example(num_registers=registers)
  encode = jax.jit(functools.partial(encode_with_attention, net))
  output, weights = encode(params, images)
  x, v, direct = _direct(net, params, images)
  assert weights.shape == (2, 3, 1 + registers, 1 + registers + 12)
  assert direct.max() > 0.5
  np.testing.assert_allclose(weights, direct[:, :, : 1 + registers], atol=2e-5)
  # The block's own output follows from them.
  mixed = np.einsum("naqk,nkae->nqae", weights, v).reshape(2, 1 + registers, -1)
  attention = params["block_01"]["attn"]
  ours = mixed @ np.asarray(attention["proj"]["kernel"])
  theirs = Attention(3, jnp.float32).apply({"params": attention}, x)
  np.testing.assert_allclose(
    ours + np.asarray(attention["proj"]["bias"]),
    theirs[:, : 1 + registers],
    rtol=1e-4,
    atol=1e-4,
  )
  (plain,) = net.apply({"params": params}, images)
  np.testing.assert_allclose(
    _tokens(output), _tokens(plain), rtol=1e-4, atol=1e-4
  )


def test_any_block_can_be_asked_and_no_other():
  net, params, images = _example()
  _, first = encode_with_attention(net, params, images, block=0)
  _, also = encode_with_attention(net, params, images, block=-2)
  _, last = encode_with_attention(net, params, images)
  np.testing.assert_array_equal(first, also)
  assert np.abs(first - last).max() > 1e-2
  with pytest.raises(IndexError):
    encode_with_attention(net, params, images, block=2)


def test_remat_does_not_hide_the_block():
  net, params, images = _example()
  _, expected = encode_with_attention(net, params, images)
  config = dataclasses.replace(CONFIG, remat="full")
  _, weights = encode_with_attention(VisionTransformer(config), params, images)
  np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_no_square_of_tokens_is_computed_for_it():
  """The compiled program has no T x T array besides the encoder's own."""
  net, params, images = _example(num_registers=2)
  squares = []
  for function in (
    lambda p, i: net.apply({"params": p}, i)[0].cls,
    lambda p, i: encode_with_attention(net, p, i)[1],
  ):
    text = jax.jit(function).lower(params, images).as_text()
    squares.append(text.count("15x15x"))
  assert squares[1] <= squares[0]
