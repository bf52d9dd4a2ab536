"""Where the encoder looks, against a picture that is really cropped."""

import numpy as np
import pytest
from PIL import Image

from scan42_jax.pictures.geometry import View, encoder_view


def test_a_centre_crop_is_found_in_the_film():
  view = encoder_view((400, 200), resize_px=100, crop_px=80, squash=False)
  # Resized to 200 x 100, cut to 80 x 80 in the middle.
  assert view == View(
    top=pytest.approx(60 / 200),
    left=pytest.approx(10 / 100),
    height=pytest.approx(80 / 200),
    width=pytest.approx(80 / 100),
  )


@pytest.mark.parametrize("shape", [(400, 200), (90, 333), (64, 64)])
def test_the_view_is_what_a_picture_keeps(shape):
  """A gradient, resized and cropped, ends at the edges of the view."""
  rows = np.tile(np.linspace(0, 1, shape[0])[:, None], (1, shape[1]))
  scale = 48 / min(shape)
  size = (round(shape[1] * scale), round(shape[0] * scale))
  resized = Image.fromarray(rows.astype(np.float32)).resize(size)
  top = (size[1] - 32) // 2
  kept = np.asarray(resized)[top : top + 32]
  view = encoder_view(shape, resize_px=48, crop_px=32, squash=False)
  step = 1.5 / size[1]
  assert kept[0, 0] == pytest.approx(view.top, abs=step)
  assert kept[-1, 0] == pytest.approx(view.top + view.height, abs=step)


def test_a_film_that_is_not_cropped_is_seen_whole():
  for squash in (True, False):
    view = encoder_view((9, 400), resize_px=56, crop_px=None, squash=squash)
    assert view == View()


def test_patches_and_points_agree():
  view = View(top=0.25, left=0.1, height=0.5, width=0.8)
  grid = (4, 8)
  for row, column in np.ndindex(grid):
    x, y = view.centre_of(row, column, grid=grid)
    assert view.patch_at(x, y, grid=grid) == (row, column)
  assert view.patch_at(0.0, 0.0, grid=grid) == (0, 0)
  assert view.patch_at(1.0, 1.0, grid=grid) == (3, 7)
