"""Distances of outlines against all pairs of points, and known shapes."""

import numpy as np
import pytest

from scan42_jax.metrics.surface import hausdorff95, outline


def _disc(shape, centre, radius):
  y, x = np.ogrid[: shape[0], : shape[1]]
  return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def _brute_force(prediction, truth, spacing):
  points = [np.argwhere(outline(m)) * spacing for m in (prediction, truth)]
  apart = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
  return max(np.percentile(apart.min(axis=a), 95) for a in (0, 1))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.139, 0.2)])
@pytest.mark.parametrize("seed", range(5))
def test_equals_all_pairs(seed, spacing):
  rng = np.random.default_rng(seed)
  masks = [
    _disc((61, 47), rng.uniform(8, 40, 2), rng.uniform(2, 14))
    ^ (rng.random((61, 47)) < 0.02)
    for _ in range(2)
  ]
  np.testing.assert_allclose(
    hausdorff95(*masks, spacing=spacing),
    _brute_force(*masks, spacing),
    rtol=1e-12,
  )


def test_a_shift_is_its_own_distance_and_spacing_gives_millimetres():
  truth = np.zeros((50, 60), bool)
  truth[10:30, 10:40] = True
  moved = np.roll(truth, 7, axis=1)
  assert hausdorff95(truth, truth) == 0
  assert hausdorff95(moved, truth) == 7
  assert hausdorff95(moved, truth, spacing=(9.0, 0.5)) == 3.5


def test_one_stray_pixel_does_not_count_but_many_do():
  truth = np.zeros((200, 200), bool)
  truth[40:160, 40:160] = True
  stray = truth.copy()
  stray[0, 0] = True
  assert hausdorff95(stray, truth) == 0
  stray[:30, 0] = True
  assert hausdorff95(stray, truth) > 40


def test_empty_masks():
  empty, full = np.zeros((8, 8), bool), np.ones((8, 8), bool)
  assert hausdorff95(empty, empty) == 0
  assert np.isnan(hausdorff95(empty, full))
  assert np.isnan(hausdorff95(full, empty))


def test_the_border_of_the_picture_is_outline():
  full = np.ones((4, 5), bool)
  assert outline(full).sum() == 20 - 6
