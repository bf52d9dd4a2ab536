"""What is drawn, in which order it is applied, and on what crops depend."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from PIL import Image, ImageEnhance, ImageOps

from scan42_jax.data import crops, image_ops
from scan42_jax.types import Films

SETTINGS = crops.CropSettings(global_size_px=28, local_size_px=14, num_local=3)
PLAIN = dataclasses.replace(
  SETTINGS,
  affine=False,
  flip_probability=0.0,
  jitter_probability=0.0,
  blur_probability=(0.0, 0.0, 0.0),
  solarize_probability=0.0,
)
LEVEL = 1 / 255 / min(SETTINGS.std)


def _films(count=8, side=48, height=48, width=40):
  rng = np.random.default_rng(3)
  pixels = rng.integers(0, 256, (count, side // 4, side // 4), np.uint8)
  return Films(
    pixels=jnp.asarray(pixels.repeat(4, axis=1).repeat(4, axis=2)),
    height=jnp.full(count, height),
    width=jnp.full(count, width),
    index=jnp.arange(100, 100 + count),
  )


def _assert_same_crops(actual, expected):
  """Equal but for a pixel whose rounding the order of a sum decides."""
  for a, b in zip(actual, expected, strict=True):
    assert np.abs(a - b).max() <= 3 * LEVEL
    assert (np.abs(a - b) <= 1e-6).mean() >= 0.999


make_crops = jax.jit(crops.make_crops, static_argnums=2)


def test_shapes_and_values():
  films = _films(count=2)
  global_crops, local_crops = make_crops(films, jax.random.key(0), SETTINGS)
  assert global_crops.shape == (2, 2, 28, 28, 3)
  assert local_crops.shape == (2, 3, 14, 14, 3)
  for part in (global_crops, local_crops):
    levels = (
      part * jnp.asarray(SETTINGS.std) + jnp.asarray(SETTINGS.mean)
    ) * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
    assert levels.min() > -1e-3
    assert levels.max() < 255 + 1e-3
    np.testing.assert_allclose(levels[..., :1], levels[..., 1:2], atol=1e-3)


def test_crops_depend_on_key_and_index_alone():
  films, key = _films(), jax.random.key(0)
  whole = make_crops(films, key, SETTINGS)
  order = jnp.array([5, 2, 7])
  part = make_crops(jax.tree.map(lambda x: x[order], films), key, SETTINGS)
  _assert_same_crops(part, [x[order] for x in whole])


def test_crops_differ_between_samples_crops_and_keys():
  films = _films(count=2)
  films = films.replace(pixels=films.pixels.at[1].set(films.pixels[0]))
  first, local = make_crops(films, jax.random.key(0), PLAIN)
  other, _ = make_crops(films, jax.random.key(1), PLAIN)
  for a, b in (
    (first[0, 0], first[0, 1]),
    (first[0, 0], first[1, 0]),
    (first, other),
    (local[0, 0], local[0, 1]),
  ):
    assert np.abs(a - b).mean() > 0.1


def _program(films, key):
  """The compiled program as text."""

  def make(pixels, height, width, index):
    films = Films(pixels=pixels, height=height, width=width, index=index)
    return crops.make_crops(films, key, SETTINGS)

  lowered = jax.jit(make).lower(
    films.pixels, films.height, films.width, films.index
  )
  return lowered.compile().as_text()


def test_crops_on_eight_devices_need_no_communication():
  films, key = _films(), jax.random.key(0)
  mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
  sharded = jax.device_put(films, NamedSharding(mesh, PartitionSpec("data")))
  _assert_same_crops(
    make_crops(sharded, key, SETTINGS), make_crops(films, key, SETTINGS)
  )
  program = _program(sharded, key)
  assert not [
    word
    for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute")
    if word in program
  ]


def test_nothing_outside_the_film_is_seen():
  films = _films()
  inside = (jnp.arange(48)[:, None] < 30) & (jnp.arange(48)[None, :] < 44)
  films = films.replace(
    pixels=jnp.broadcast_to(
      jnp.where(inside, 0, 255).astype(jnp.uint8), films.pixels.shape
    ),
    height=jnp.full(8, 30),
    width=jnp.full(8, 44),
  )
  black = -jnp.asarray(SETTINGS.mean) / jnp.asarray(SETTINGS.std)
  for part in make_crops(films, jax.random.key(0), PLAIN):
    np.testing.assert_allclose(
      part, jnp.broadcast_to(black, part.shape), atol=1e-6
    )


def _windows(height, width, *, draws, scale, aspect):
  share = jax.random.uniform(jax.random.key(7), (4, draws, 10))
  windows = crops.choose_windows(
    share,
    jnp.asarray(height),
    jnp.asarray(width),
    scale=jnp.broadcast_to(
      jnp.reshape(jnp.array(scale), (2, 1, 1)), (2, draws, 1)
    ),
    aspect=aspect,
  )
  return jax.tree.map(np.asarray, windows)


def _reference_window(rng, height, width, scale, aspect):
  """The published rule, try by try; no window if ten tries fail."""
  for _ in range(10):
    area = height * width * rng.uniform(*scale)
    shape = np.exp(rng.uniform(*np.log(aspect)))
    wide, high = round(np.sqrt(area * shape)), round(np.sqrt(area / shape))
    if 0 < wide <= width and 0 < high <= height:
      top = rng.integers(0, height - high + 1)
      return top, rng.integers(0, width - wide + 1), high, wide
  raise AssertionError("use a shape for which a window is found")


@pytest.mark.parametrize("scale", [(0.32, 1.0), (0.05, 0.32)])
def test_windows_have_the_published_distribution(scale):
  height, width, draws, aspect = 60, 50, 4000, (3 / 4, 4 / 3)
  ours = _windows(height, width, draws=draws, scale=scale, aspect=aspect)
  # Every window lies inside, and every border is reached.
  assert ours.top.min() == ours.left.min() == 0
  assert (ours.top + ours.height).max() == height
  assert (ours.left + ours.width).max() == width
  rng = np.random.default_rng(0)
  theirs = np.array(
    [_reference_window(rng, height, width, scale, aspect) for _ in range(draws)]
  ).T
  ours = np.stack(ours)
  for statistic in (
    lambda w: w.astype(float),
    lambda w: w.astype(float) ** 2,
    lambda w: w[2:3] * w[3:4],
    lambda w: w[0:1] * w[2:3],
  ):
    a, b = statistic(ours), statistic(theirs)
    error = np.sqrt((a.var(axis=1) + b.var(axis=1)) / draws)
    assert (np.abs(a.mean(axis=1) - b.mean(axis=1)) <= 5 * error).all()


@pytest.mark.parametrize(
  ("height", "width", "expected"),
  [
    (100, 10, (43, 0, 13, 10)),
    (10, 100, (0, 43, 10, 13)),
  ],
)
def test_window_of_a_narrow_film_is_central(height, width, expected):
  windows = _windows(
    height, width, draws=3, scale=(0.9, 1.0), aspect=(3 / 4, 4 / 3)
  )
  for number, part in zip(expected, windows, strict=True):
    assert (part == number).all()


@partial(jax.jit, static_argnums=(0, 1))
def _recipes(draws, settings=SETTINGS):
  """Recipes of many films: leaves [draws, crops]."""
  films = _films(count=1)
  return jax.vmap(
    lambda key: crops.sample_recipe(
      key, films.height[0], films.width[0], settings=settings
    )
  )(jax.random.split(jax.random.key(11), draws))


def test_windows_of_a_recipe_have_their_scale():
  drawn = _recipes(1500).window
  share = np.asarray(drawn.height * drawn.width) / (48 * 40)
  for part, (low, high) in (
    (share[:, :2], SETTINGS.global_scale),
    (share[:, 2:], SETTINGS.local_scale),
  ):
    assert part.min() >= low - 0.02
    assert part.max() <= high + 0.02
    assert np.ptp(part) > 0.9 * (high - low)


def test_recipes_have_the_published_distribution():
  draws = 1500
  drawn = _recipes(draws)
  for name, probability in {
    "flip": 0.5,
    "jitter": 0.8,
    "contrast_first": 0.5,
    "blur": np.array([1.0, 0.1, 0.5, 0.5, 0.5]),
    "solarize": np.array([0.0, 0.2, 0.0, 0.0, 0.0]),
  }.items():
    mean = np.asarray(getattr(drawn, name)).mean(axis=0)
    error = np.sqrt(probability * (1 - probability) / draws)
    assert (np.abs(mean - probability) <= 5 * error).all(), name
  for name, (low, high) in {
    "angle_degrees": (-20, 20),
    "shift": (-0.1, 0.1),
    "zoom": (0.8, 1.2),
    "brightness": (0.6, 1.4),
    "contrast": (0.6, 1.4),
    "sigma": (0.1, 2.0),
  }.items():
    value = np.asarray(getattr(drawn, name), np.float64)
    error = (high - low) / np.sqrt(12 * draws)
    assert np.abs(value.mean(axis=0) - (low + high) / 2).max() <= 5 * error
    assert value.min() >= low - 1e-6
    assert value.max() <= high + 1e-6
    assert np.ptp(value) > 0.99 * (high - low)


def test_choices_of_a_film_are_independent():
  drawn = jax.tree.leaves(_recipes(1500))
  table = np.column_stack(
    [np.asarray(x, float).reshape(1500, -1) for x in drawn]
  )
  table = table[:, table.std(axis=0) > 0]
  windows = 4 * 5  # Position and size of a window do depend on each other.
  correlation = np.corrcoef(table.T) - np.eye(table.shape[1])
  correlation[:windows, :windows] = 0
  assert np.abs(correlation).max() <= 5 / np.sqrt(1500)


def _pil_chain(image, recipe, *, affine):
  """The same choices through PIL; the blur between bytes and bytes."""
  image = Image.fromarray(np.asarray(image, np.uint8))
  if recipe.flip:
    image = ImageOps.mirror(image)
  if affine:
    image = _pil_affine(image, recipe)
  if recipe.jitter:
    steps = [
      (ImageEnhance.Brightness, recipe.brightness),
      (ImageEnhance.Contrast, recipe.contrast),
    ]
    for enhance, factor in steps[:: -1 if recipe.contrast_first else 1]:
      image = enhance(image).enhance(float(factor))
  if recipe.blur:
    image = jnp.asarray(np.asarray(image), jnp.float32)
    image = image_ops.gaussian_blur(image, recipe.sigma)
    image = Image.fromarray(np.asarray(image, np.uint8))
  if recipe.solarize:
    image = ImageOps.solarize(image, 128)
  return np.asarray(image)


def _pil_affine(image, recipe):
  side = image.size[0]
  shift = np.round(np.asarray(recipe.shift) * side)
  angle = np.deg2rad(float(recipe.angle_degrees))
  turn = np.array(
    [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
  ) / float(recipe.zoom)
  offset = side / 2 - turn @ (side / 2 + shift)
  return image.transform(
    image.size,
    Image.Transform.AFFINE,
    np.column_stack([turn, offset]).ravel().tolist(),
    Image.Resampling.NEAREST,
  )


@pytest.mark.parametrize(("affine", "share"), [(False, 0.9999), (True, 0.99)])
def test_recipe_equals_the_pil_chain(affine, share):
  image = _films(count=1).pixels[0].astype(jnp.float32)
  draws = 40
  settings = dataclasses.replace(SETTINGS, solarize_probability=0.5)
  drawn = jax.tree.map(lambda x: x[:, 1], _recipes(draws, settings))
  blur = jnp.arange(draws) % 2 == 0
  drawn = drawn.replace(blur=blur)
  apply = jax.jit(crops.apply_recipe, static_argnames="affine")
  same = []
  for place in range(draws):
    recipe = jax.tree.map(lambda x, i=place: x[i], drawn)
    actual = apply(image, recipe, affine=affine)
    same.append(actual == _pil_chain(image, recipe, affine=affine))
  assert np.mean(same) >= share


def test_affine_reaches_global_crops_only():
  settings = dataclasses.replace(PLAIN, affine=True)
  films, key = _films(count=4), jax.random.key(0)
  plain_global, plain_local = make_crops(films, key, PLAIN)
  global_crops, local_crops = make_crops(films, key, settings)
  assert (global_crops != plain_global).any(axis=(2, 3, 4)).all()
  np.testing.assert_array_equal(local_crops, plain_local)
