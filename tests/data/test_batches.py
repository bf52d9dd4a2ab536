"""Films to a batch: shapes, and nothing but the index decides."""

import functools

import jax
import numpy as np
import tiny

from scan42_jax.data.batches import make_batch


def _make(settings):
  return jax.jit(
    functools.partial(
      make_batch,
      key=jax.random.key(0),
      crops=settings.crops,
      masks=settings.masks,
      patch_size=settings.model.patch_size,
    )
  )


def test_shapes_and_agreement_of_masks_and_slots():
  settings = tiny.settings()
  batch = _make(settings)(tiny.films(settings))
  assert batch.global_crops.shape == (8, 2, 56, 56, 3)
  assert batch.local_crops.shape == (8, 2, 28, 28, 3)
  assert batch.patch_mask.shape == (8, 2, 16)
  groups = np.asarray(batch.patch_mask).reshape(4, -1)
  for mask, index, weight in zip(
    groups, batch.mask_index, batch.mask_weight, strict=True
  ):
    used = np.asarray(weight) > 0
    np.testing.assert_array_equal(np.asarray(index)[used], np.flatnonzero(mask))


def test_a_film_looks_the_same_in_any_batch_of_whole_groups():
  settings = tiny.settings()
  films = tiny.films(settings)
  part = jax.tree.map(lambda x: x[4:], films)
  whole, half = _make(settings)(films), _make(settings)(part)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a[len(a) // 2 :], b, atol=1e-5),
    whole,
    half,
  )


def test_crops_and_masks_change_from_step_to_step():
  settings = tiny.settings()
  films = tiny.films(settings)
  first = _make(settings)(films)
  later = _make(settings)(films.replace(index=films.index + 8))
  assert not np.array_equal(first.global_crops, later.global_crops)
  assert not np.array_equal(first.patch_mask, later.patch_mask)
