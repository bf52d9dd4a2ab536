"""The encoder against DINOv2's numbers, and its own promises."""

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.models.vit import VIT_SHAPES, VisionTransformer, ViTConfig

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}
FORWARD_FILES = ["vit_forward.npz", "vit_noreg.npz", "vit_swiglu.npz"]


def _encode(config, params, images, *args, **kwargs):
  """Applies an encoder to images given channels first."""
  images = golden_files.channels_last(images)
  net = VisionTransformer(config)
  return net.apply({"params": params}, images, *args, **kwargs)


def _load(path, **changes):
  arrays, meta = golden_files.load(path)
  params = golden_files.tree(golden_files.strip(arrays, "param/"))
  return arrays, meta, params, golden_files.vit_config(meta["cfg"], **changes)


def _mode(name):
  """'off0.1_aa0' -> arguments of the position resize."""
  offset, antialias = name.removeprefix("off").split("_aa")
  return {
    "position_offset": float(offset),
    "position_antialias": antialias == "1",
  }


@pytest.mark.parametrize("name", FORWARD_FILES)
@pytest.mark.parametrize("masked", [False, True])
def test_golden_forward(golden_file, name, masked):
  arrays, _, params, config = _load(golden_file(name))
  suffix = "_masked" if masked else ""
  mask = arrays["in/masks"] if masked else None
  (output,) = _encode(config, params, arrays["in/images"], mask)
  for ours, theirs in [
    (output.cls, "clstoken"),
    (output.registers, "regtokens"),
    (output.patches, "patchtokens"),
  ]:
    np.testing.assert_allclose(
      ours, arrays[f"out/x_norm_{theirs}{suffix}"], **TOLERANCE
    )
  (raw,) = _encode(config, params, arrays["in/images"], mask, norm=False)
  tokens = [raw.cls[:, None], raw.registers, raw.patches]
  np.testing.assert_allclose(
    jnp.concatenate(tokens, 1), arrays[f"out/x_prenorm{suffix}"], **TOLERANCE
  )


def test_golden_resize(golden_file):
  path = golden_file("vit_resize.npz")
  _, meta, _, _ = _load(path)
  for mode in meta["modes"]:
    arrays, _, params, config = _load(path, **_mode(mode))
    for height, width in meta["sizes"]:
      size = f"{height}x{width}"
      (output,) = _encode(config, params, arrays[f"in/images_{size}"])
      expected = golden_files.strip(arrays, f"out/{mode}/{size}/")
      np.testing.assert_allclose(
        output.cls, expected["x_norm_clstoken"], **TOLERANCE
      )
      np.testing.assert_allclose(
        output.registers, expected["x_norm_regtokens"], **TOLERANCE
      )
      np.testing.assert_allclose(
        output.patches, expected["x_norm_patchtokens"], **TOLERANCE
      )


@pytest.mark.parametrize("image", ["native", "nonsquare"])
def test_golden_intermediate_layers(golden_file, image):
  arrays, meta, params, config = _load(golden_file("vit_intermediate.npz"))
  images = arrays[f"in/images_{image}"]
  last_four = range(config.depth - 4, config.depth)
  for norm in (False, True):
    outputs = _encode(config, params, images, layers=last_four, norm=norm)
    expected = golden_files.strip(arrays, f"out/{image}/n4_norm{int(norm)}/")
    for i, output in enumerate(outputs):
      np.testing.assert_allclose(output.cls, expected[f"cls_{i}"], **TOLERANCE)
      np.testing.assert_allclose(
        output.patches, expected[f"patch_{i}"], **TOLERANCE
      )
  outputs = _encode(config, params, images, layers=meta["n_list"])
  for i, output in enumerate(outputs):
    expected = arrays[f"out/{image}/nlist_reshape/{i}"]
    grid = output.patches.reshape(
      len(images), *expected.shape[2:], config.width
    )
    np.testing.assert_allclose(
      grid.transpose(0, 3, 1, 2), expected, **TOLERANCE
    )


def test_bfloat16_activations_leave_parameters_float32():
  config = ViTConfig(width=32, depth=1, num_heads=2, image_size=28)
  net = VisionTransformer(config, dtype=jnp.bfloat16)
  images = jnp.ones((1, 28, 28, 3))
  params = net.init(jax.random.key(0), images)
  (output,) = net.apply(params, images)
  assert output.cls.dtype == jnp.bfloat16
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("depth, scanned", [(1, False), (2, True)])
def test_drop_path_drops_branches_of_whole_crops(depth, scanned):
  config = ViTConfig(
    width=16,
    depth=depth,
    num_heads=2,
    image_size=28,
    drop_path=0.5,
    layer_scale=1.0,
    scan_blocks=scanned,
  )
  net = VisionTransformer(config)
  crops = [jnp.ones((256, n, size, size, 3)) for n, size in [(2, 28), (3, 14)]]
  params = net.init(jax.random.key(0), crops[0][:1, 0])
  outputs = net.apply(
    params,
    crops,
    train=True,
    rngs={"drop_path": jax.random.key(1)},
    method="encode_crops",
  )
  for tokens in outputs:
    values = np.round(np.asarray([tokens.cls, tokens.registers[:, 0]]), 4)
    kinds = np.unique(
      values.swapaxes(0, 1).reshape(len(tokens.cls), -1), axis=0
    )
    assert len(kinds) == 4**depth  # Two branches, each kept or dropped.


def test_crops_in_one_pass_are_as_if_encoded_apart():
  config = ViTConfig(width=16, depth=2, num_heads=2, image_size=28)
  net = VisionTransformer(config)
  large = jax.random.normal(jax.random.key(0), (3, 2, 28, 42, 3))
  small = jax.random.normal(jax.random.key(1), (3, 4, 14, 14, 3))
  mask = jax.random.bernoulli(jax.random.key(2), 0.4, (3, 2, 6))
  params = net.init(jax.random.key(3), large[0])
  ours = net.apply(params, [large, small], mask, method="encode_crops")
  apart = [
    net.apply(params, large.reshape(6, 28, 42, 3), mask.reshape(6, 6))[0],
    net.apply(params, small.reshape(12, 14, 14, 3))[0],
  ]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    list(ours),
    apart,
  )


@pytest.mark.parametrize("kind", ["dots", "full"])
def test_remat_changes_no_number(kind):
  config = ViTConfig(width=16, depth=2, num_heads=2, image_size=28)
  images = jax.random.normal(jax.random.key(0), (2, 28, 28, 3))
  params = VisionTransformer(config).init(jax.random.key(1), images)

  def gradient(remat):
    net = VisionTransformer(
      ViTConfig(width=16, depth=2, num_heads=2, image_size=28, remat=remat)
    )
    return jax.grad(lambda p: jnp.sum(net.apply(p, images)[0].cls ** 3))(params)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
    gradient("none"),
    gradient(kind),
  )


@pytest.mark.parametrize("kind", ["none", "dots", "full"])
def test_scanned_blocks_change_no_number(kind):
  shape = {"width": 16, "depth": 3, "num_heads": 2, "image_size": 28}
  crops = [
    jax.random.normal(jax.random.key(i), (2, 2, side, side, 3))
    for i, side in enumerate((28, 14))
  ]
  params = VisionTransformer(ViTConfig(**shape)).init(
    jax.random.key(1), crops[0][:, 0]
  )

  def gradient(config):
    def loss(p):
      large, small = VisionTransformer(config).apply(
        p, crops, method="encode_crops"
      )
      return jnp.sum(large.cls**3) + jnp.sum(small.patches**3)

    return jax.value_and_grad(loss)(params)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6),
    gradient(ViTConfig(**shape, remat=kind, scan_blocks=True)),
    gradient(ViTConfig(**shape)),
  )


@pytest.mark.parametrize("name, millions", [("S", 22.06), ("B", 86.58)])
def test_parameter_count_is_the_published_one(name, millions):
  net = VisionTransformer(ViTConfig(**VIT_SHAPES[name]))
  shapes = jax.eval_shape(
    net.init, jax.random.key(0), jnp.zeros((1, 14, 14, 3))
  )
  count = sum(x.size for x in jax.tree.leaves(shapes))
  assert abs(count / 1e6 - millions) < 0.01
