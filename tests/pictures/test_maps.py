"""Components, similarity and colours, on features made to have them."""

import numpy as np
import pytest

from scan42_jax.pictures import maps


def _films(count=3, rows=6, columns=5, width=16, seed=0):
  """Patches that vary along three directions, most along the first."""
  rng = np.random.default_rng(seed)
  axes = np.linalg.qr(rng.normal(size=(width, width)))[0][:3]
  places = rng.normal(size=(count * rows * columns, 3))
  # Uncorrelated in this very sample, so that its components are the axes.
  places = np.linalg.qr(places - places.mean(axis=0))[0] * [90, 30, 10]
  places = places.reshape(count, rows, columns, 3)
  noise = rng.normal(size=(count, rows, columns, width)) * 1e-3
  return places, places @ axes + 5 + noise


def test_components_are_the_directions_of_most_variance():
  places, patches = _films()
  everywhere = np.ones(patches.shape[:3], bool)
  components = maps.Components(patches.reshape(-1, 16), everywhere.ravel())
  colours = components.colours(patches[0], everywhere[0]).astype(float)
  for channel in range(3):
    colour = colours[..., channel].ravel()
    inside = (colour > 0) & (colour < 255)
    place = places[0, ..., channel].ravel()
    assert inside.sum() > 20
    assert abs(np.corrcoef(colour[inside], place[inside])[0, 1]) > 0.99


def test_one_colour_means_one_thing_in_all_films():
  _, patches = _films()
  patches[1] = patches[0]
  patches[2] += 40
  everywhere = np.ones(patches.shape[:3], bool)
  components = maps.Components(patches.reshape(-1, 16), everywhere.ravel())
  first, second, third = (
    components.colours(film, everywhere[0]).astype(int) for film in patches
  )
  np.testing.assert_array_equal(first, second)
  assert np.abs(first.mean((0, 1)) - third.mean((0, 1))).max() > 100


def test_border_has_no_say_and_no_colour():
  _, patches = _films()
  foreground = np.ones(patches.shape[:3], bool)
  foreground[:, 0] = False
  fitted = []
  for border in (0.0, 1000.0):
    patches[:, 0] = border
    components = maps.Components(patches.reshape(-1, 16), foreground.ravel())
    fitted.append(components.colours(patches[0], foreground[0]))
  np.testing.assert_array_equal(*fitted)
  assert not fitted[0][0].any() and fitted[0][1:].any()


def test_a_film_of_nothing_but_border_has_components():
  _, patches = _films()
  nowhere = np.zeros(patches.shape[:3], bool)
  components = maps.Components(patches.reshape(-1, 16), nowhere.ravel())
  assert not components.colours(patches[0], nowhere[0]).any()


def test_similarity_is_the_cosine():
  _, patches = _films()
  values = maps.similarity(patches[0], 2, 3)
  direct = [
    [
      np.dot(patch, patches[0, 2, 3])
      / np.linalg.norm(patch)
      / np.linalg.norm(patches[0, 2, 3])
      for patch in row
    ]
    for row in patches[0]
  ]
  np.testing.assert_allclose(values, direct, atol=1e-12)
  assert values[2, 3] == pytest.approx(1)


def test_heat_grows_lighter():
  colours = maps.heat(np.linspace(0, 1, 64)[None])[0].astype(float)
  lightness = colours @ [0.299, 0.587, 0.114]
  assert (np.diff(lightness) > 0).all()
  assert lightness[0] < 5 and lightness[-1] > 240


def test_block_means_cover_the_picture():
  pixels = np.random.default_rng(0).integers(0, 256, (36, 25)).astype(np.uint8)
  expected = pixels.reshape(6, 6, 5, 5).mean(axis=(1, 3))
  np.testing.assert_allclose(maps.block_means(pixels, 6, 5), expected)
  # Patches need not be whole pixels.
  means = maps.block_means(np.full((7, 5), 80, np.uint8), 3, 4)
  np.testing.assert_allclose(means, 80)
