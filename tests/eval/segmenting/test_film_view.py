"""Masks follow films into the encoder's view, and logits come back."""

import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.encoder import prepare_film
from scan42_jax.eval.segmenting.film_view import (
  classes_of_film,
  labels_in_view,
  view_of,
)
from scan42_jax.models.segmentation import enlarge
from scan42_jax.weights.preprocessing import Preprocessing


def _how(side, whole):
  return Preprocessing(
    resize_px=side, squash=whole, crop_px=None if whole else side
  )


def _mask(shape):
  mask = np.zeros(shape, np.uint8)
  height, width = shape
  mask[height // 4 : height // 2, width // 5 : width // 2] = 1
  mask[height // 2 : 3 * height // 4, width // 2 : 4 * width // 5] = 1
  return mask


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("shape", [(300, 220), (181, 257), (40, 40)])
def test_a_mask_lies_where_the_prepared_film_shows_it(shape, whole):
  mask = _mask(shape)
  film = prepare_film(255 * mask, _how(64, whole))
  labels = labels_in_view(mask, side=64, whole=whole)
  assert labels.shape == (64, 64)
  # Smooth and nearest resizing differ along the edges and nowhere else.
  assert ((film > 127) != labels.astype(bool)).mean() < 0.03


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("shape", [(300, 220), (181, 257)])
def test_there_and_back(shape, whole):
  mask = _mask(shape)
  labels = labels_in_view(mask, side=64, whole=whole)
  logits = np.eye(2, dtype=np.float32)[labels]
  back = classes_of_film(logits, shape, side=64, whole=whole)
  view = view_of(shape, side=64, whole=whole)
  expected = np.zeros_like(mask)
  box = (
    slice(round(view.top), round(view.top + view.height)),
    slice(round(view.left), round(view.left + view.width)),
  )
  expected[box] = mask[box]
  assert (back != expected).mean() < 0.02
  if not whole:
    assert not back[: int(view.top)].any()
    assert not back[:, : int(view.left)].any()


def test_enlarges_as_training_does():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(5, 7, 3)).astype(np.float32)
  large = enlarge(jnp.asarray(logits[None]), (35, 49))[0]
  np.testing.assert_array_equal(
    classes_of_film(logits, (35, 49), side=35, whole=True),
    np.asarray(large).argmax(axis=-1),
  )


def test_one_cell_covers_the_film():
  logits = np.zeros((1, 1, 4), np.float32)
  logits[..., 2] = 1
  assert (classes_of_film(logits, (9, 5), side=14, whole=True) == 2).all()
