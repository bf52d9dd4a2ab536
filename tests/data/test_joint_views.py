"""Film and labels go through one geometry; sides are exchanged in a mirror."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.data.joint_views import (
  JointRecipe,
  JointViewSettings,
  apply_joint_recipe,
  joint_views,
  sample_joint_recipe,
)

SIDE = 48
MIRRORED = jnp.asarray([0, 2, 1, 3])


def _recipe(**changes):
  plain = {
    "flip": jnp.asarray(False),
    "angle_degrees": jnp.float32(0),
    "shift": jnp.zeros(2),
    "zoom": jnp.ones(2),
    "brightness": jnp.float32(1),
    "contrast": jnp.float32(1),
  }
  return JointRecipe(**plain | changes)


def _scene():
  """Three blocks of 1, 2, 3, and a film whose grey levels tell them apart."""
  labels = np.zeros((SIDE, SIDE), np.uint8)
  labels[10:38, 6:20] = 2
  labels[10:38, 28:44] = 1
  labels[24:36, 20:30] = 3
  return 80 * labels, labels


@pytest.mark.parametrize("seed", range(12))
def test_film_and_labels_stay_together(seed):
  film, labels = _scene()
  settings = JointViewSettings(
    affine_probability=1.0, jitter_probability=0.0, degrees=30.0
  )
  recipe = sample_joint_recipe(jax.random.key(seed), settings)
  image, found = apply_joint_recipe(film, labels, recipe, mirrored=MIRRORED)
  shown = np.asarray([0, 2, 1, 3])[found] if recipe.flip else np.asarray(found)
  # Inside the blocks a grey level names its class; edges are mixtures.
  apart = np.abs(np.asarray(image) - 80.0 * shown)
  assert (apart > 1).mean() < 0.12
  clear = np.isin(np.asarray(image), [0, 80, 160, 240])
  agree = np.rint(np.asarray(image) / 80) == shown
  assert agree[clear].mean() > 0.99


def test_nothing_drawn_changes_nothing():
  film, labels = _scene()
  image, found = apply_joint_recipe(film, labels, _recipe(), mirrored=MIRRORED)
  np.testing.assert_array_equal(image, film)
  np.testing.assert_array_equal(found, labels)


def test_a_mirror_exchanges_the_lungs_and_nothing_else():
  film, labels = _scene()
  image, found = apply_joint_recipe(
    film, labels, _recipe(flip=jnp.asarray(True)), mirrored=MIRRORED
  )
  np.testing.assert_array_equal(image, film[:, ::-1])
  np.testing.assert_array_equal(
    found, np.asarray([0, 2, 1, 3])[labels[:, ::-1]]
  )


def test_shift_is_to_the_right_and_down_and_fills_with_background():
  film, labels = _scene()
  recipe = _recipe(shift=jnp.asarray([0.25, 0.125]))
  image, found = apply_joint_recipe(film, labels, recipe, mirrored=MIRRORED)
  np.testing.assert_array_equal(found[6:, 12:], labels[:-6, :-12])
  np.testing.assert_array_equal(image[6:, 12:], film[:-6, :-12])
  assert not np.asarray(found[:6]).any() and not np.asarray(image[:, :12]).any()


def test_turns_clockwise_as_the_crops_do():
  labels = np.zeros((SIDE, SIDE), np.uint8)
  labels[4:8, 22:26] = 1  # At the top.
  recipe = _recipe(angle_degrees=jnp.float32(90))
  _, found = apply_joint_recipe(labels, labels, recipe, mirrored=MIRRORED)
  rows, columns = np.nonzero(np.asarray(found))
  assert columns.min() >= 39 and 20 <= rows.mean() <= 27  # On the right.


def test_the_published_shift_is_one_number():
  settings = JointViewSettings(affine_probability=1.0, translate=(0.1, 0.1))
  for seed in range(5):
    recipe = sample_joint_recipe(jax.random.key(seed), settings)
    np.testing.assert_allclose(recipe.shift, 0.1)
  shifts = [
    sample_joint_recipe(
      jax.random.key(seed),
      dataclasses.replace(settings, translate=(-0.1, 0.1)),
    ).shift
    for seed in range(40)
  ]
  assert np.min(shifts) < -0.05 and np.max(shifts) > 0.05


def test_classes_are_never_mixed():
  film, labels = _scene()
  labels[labels > 0] = 3
  views = joint_views(
    np.stack([film] * 8),
    np.stack([labels] * 8),
    np.arange(8),
    key=jax.random.key(0),
    settings=JointViewSettings(affine_probability=1.0),
    mirrored=MIRRORED,
  )
  assert set(np.unique(views[1])) == {0, 3}


def test_a_view_depends_on_its_index_alone():
  film, labels = _scene()
  pair = np.stack([film] * 4), np.stack([labels] * 4)
  make = jax.jit(
    lambda f, m, i: joint_views(
      f,
      m,
      i,
      key=jax.random.key(3),
      settings=JointViewSettings(),
      mirrored=MIRRORED,
    )
  )
  whole = make(*pair, np.arange(4))
  turned = make(*pair, np.array([3, 2, 1, 0]))
  for a, b in zip(whole, turned, strict=True):
    np.testing.assert_allclose(a, b[::-1], atol=1)
