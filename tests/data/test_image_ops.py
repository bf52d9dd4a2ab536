"""Each operator against the PIL chain's results, channel by channel."""

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.data import image_ops

SOURCES = ("gray3", "rgb")
NAME = "image_ops.npz"


def _source(arrays, source):
  if source == "rgb":
    return arrays["in/rgb"]
  return np.repeat(arrays["in/gray"][..., None], 3, axis=-1)


def _apply(arrays, source, operator):
  """Applies a grey operator to each channel of an input."""
  image = jnp.asarray(_source(arrays, source), jnp.float32)
  return np.stack([operator(image[..., c]) for c in range(3)], axis=-1)


def _assert_levels(actual, expected, levels):
  np.testing.assert_array_equal(actual, np.clip(np.round(actual), 0, 255))
  assert np.abs(actual - expected.astype(np.float32)).max() <= levels


def _luma(image):
  """PIL's grey version of a colour image."""
  weights = np.array([19595, 38470, 7471])
  return (image.astype(np.int64) @ weights + 0x8000) >> 16


def _factors(arrays, name):
  prefix = f"out/gray3/{name}_"
  return [
    key.removeprefix(prefix)
    for key in golden_files.strip(arrays, "")
    if key.startswith(prefix)
  ]


def _windows(meta):
  for place, numbers in enumerate(meta["crops_top_left_h_w"]):
    window = image_ops.Window(*map(jnp.asarray, numbers))
    for size in meta["sizes"]:
      yield f"resized_crop_{place}_to{size}", window, size


@pytest.mark.parametrize("source", SOURCES)
def test_golden_resized_crop(golden_file, source):
  arrays, meta = golden_files.load(golden_file(NAME))
  crop = jax.jit(image_ops.resized_crop, static_argnames="out_px")
  for name, window, size in _windows(meta):
    actual = _apply(
      arrays, source, lambda x, w=window, s=size: crop(x, w, out_px=s)
    )
    _assert_levels(actual, arrays[f"out/{source}/{name}"], 1)


@pytest.mark.parametrize("source", SOURCES)
def test_golden_resized_crop_with_the_mantissa_of_tf32(golden_file, source):
  """What `Precision.HIGH` multiplies on a GPU, made by hand."""
  arrays, meta = golden_files.load(golden_file(NAME))
  height, width = arrays["in/gray"].shape

  def tf32(x):
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=10)

  def crop(image, window, size):
    rows = image_ops.resize_weights(
      window.top, window.height, in_px=height, out_px=size
    )
    columns = image_ops.resize_weights(
      window.left, window.width, in_px=width, out_px=size
    )
    narrow = tf32(jnp.clip(image @ tf32(columns).T, 0, 255))
    return jnp.clip(jnp.floor(tf32(rows) @ narrow + 0.5), 0, 255)

  for name, window, size in _windows(meta):
    actual = _apply(arrays, source, lambda x, w=window, s=size: crop(x, w, s))
    _assert_levels(actual, arrays[f"out/{source}/{name}"], 1)


@pytest.mark.parametrize("source", SOURCES)
def test_golden_flip_and_solarize(golden_file, source):
  arrays, _ = golden_files.load(golden_file(NAME))
  for name, operator in (
    ("hflip", image_ops.horizontal_flip),
    ("solarize_128", image_ops.solarize),
  ):
    actual = _apply(arrays, source, operator)
    _assert_levels(actual, arrays[f"out/{source}/{name}"], 0)


@pytest.mark.parametrize("source", SOURCES)
def test_golden_affine(golden_file, source):
  arrays, meta = golden_files.load(golden_file(NAME))
  for place, numbers in enumerate(meta["affine_angle_translate_scale"]):
    angle, shift, zoom = numbers
    actual = _apply(
      arrays,
      source,
      lambda x, a=angle, s=shift, z=zoom: image_ops.affine(
        x, angle_degrees=a, shift_px=tuple(map(float, s)), zoom=z
      ),
    )
    same = actual == arrays[f"out/{source}/affine_{place}"]
    assert same.mean() >= 0.99


@pytest.mark.parametrize("source", SOURCES)
def test_golden_brightness(golden_file, source):
  arrays, _ = golden_files.load(golden_file(NAME))
  factors = _factors(arrays, "brightness")
  assert factors
  for factor in factors:
    actual = _apply(
      arrays, source, lambda x, f=factor: image_ops.brightness(x, float(f))
    )
    _assert_levels(actual, arrays[f"out/{source}/brightness_{factor}"], 1)


def test_golden_contrast(golden_file):
  arrays, _ = golden_files.load(golden_file(NAME))
  factors = _factors(arrays, "contrast")
  assert factors
  for factor in factors:
    actual = _apply(
      arrays, "gray3", lambda x, f=factor: image_ops.contrast(x, float(f))
    )
    _assert_levels(actual, arrays[f"out/gray3/contrast_{factor}"], 1)


def test_golden_contrast_of_colour_turns_about_the_grey_mean(golden_file):
  arrays, _ = golden_files.load(golden_file(NAME))
  grey = jnp.asarray(_luma(arrays["in/rgb"]), jnp.float32)
  base = image_ops.mean_level(grey)
  for factor in _factors(arrays, "contrast"):
    actual = _apply(
      arrays, "rgb", lambda x, f=factor: image_ops.blend(x, base, float(f))
    )
    _assert_levels(actual, arrays[f"out/rgb/contrast_{factor}"], 1)


@pytest.mark.parametrize("source", SOURCES)
def test_golden_gaussian_blur(golden_file, source):
  arrays, meta = golden_files.load(golden_file(NAME))
  for sigma in meta["blur_sigmas"]:
    actual = _apply(
      arrays, source, lambda x, s=sigma: image_ops.gaussian_blur(x, s)
    )
    expected = arrays[f"out/{source}/gaussian_blur_k9_s{sigma}"]
    _assert_levels(actual, expected, 1)


def test_golden_normalize(golden_file):
  arrays, meta = golden_files.load(golden_file(NAME))
  grey = jnp.asarray(arrays["out/eval/uint8"], jnp.float32)
  actual = image_ops.normalize(grey, meta["mean"], meta["std"])
  expected = arrays["out/eval/normalized"].transpose(1, 2, 0)
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["saturation", "hue", "grayscale3"])
def test_golden_colour_operators_leave_grey_alone(golden_file, name):
  """Why this project has none of them."""
  arrays, _ = golden_files.load(golden_file(NAME))
  keys = [key for key in arrays if key.startswith(f"out/gray3/{name}")]
  assert keys
  for key in keys:
    np.testing.assert_array_equal(arrays[key], _source(arrays, "gray3"))


def test_resize_weights_stay_inside_the_crop():
  weights = image_ops.resize_weights(
    jnp.asarray(7), jnp.asarray(20), in_px=40, out_px=12
  )
  assert not weights[:, :7].any()
  assert not weights[:, 27:].any()
  np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)


def test_resized_crop_of_its_own_size_is_the_crop():
  image = jax.random.randint(jax.random.key(0), (50, 40), 0, 256)
  image = image.astype(jnp.float32)
  window = image_ops.Window(*map(jnp.asarray, (9, 4, 30, 30)))
  actual = image_ops.resized_crop(image, window, out_px=30)
  np.testing.assert_array_equal(actual, image[9:39, 4:34])


def test_affine_turns_clockwise_and_shifts_right_and_down():
  image = jnp.zeros((21, 21)).at[2, 10].set(9.0)
  turned = image_ops.affine(
    image, angle_degrees=90.0, shift_px=(0.0, 0.0), zoom=1.0
  )
  assert turned[10, 18] == 9.0
  moved = image_ops.affine(
    image, angle_degrees=0.0, shift_px=(3.0, 5.0), zoom=1.0
  )
  assert moved[7, 13] == 9.0
  assert moved.sum() == 9.0


def test_blur_keeps_a_flat_image():
  image = jnp.full((12, 14), 200.0)
  np.testing.assert_array_equal(image_ops.gaussian_blur(image, 2.0), image)
