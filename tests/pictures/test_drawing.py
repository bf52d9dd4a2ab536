"""Pictures keep the film's shape and put maps where they belong."""

import io

import numpy as np
import pytest
from PIL import Image

from scan42_jax.pictures import drawing
from scan42_jax.pictures.geometry import View

CROP = View(top=0.25, left=0.0, height=0.5, width=1.0)


def _canvas(view=View(), height=120, width=80):  # noqa: B008
  return drawing.Canvas(np.full((height, width), 100, np.uint8), view)


def test_resized_keeps_the_aspect_ratio():
  canvas = _canvas(CROP).resized(60)
  assert canvas.film.shape == (60, 40)
  assert canvas.view == CROP
  assert _canvas().resized(240).film.shape == (240, 160)


def test_overlay_lies_where_the_encoder_looks():
  values = np.zeros((4, 4))
  values[0, 0] = 1.0
  picture = np.asarray(
    drawing.overlay(_canvas(CROP), values, low=0.0, high=1.0), float
  )
  assert picture.shape == (120, 80, 3)
  outside = np.concatenate([picture[:30], picture[90:]])
  assert (outside == outside[0, 0]).all()
  brightest = np.unravel_index(picture.sum(-1).argmax(), (120, 80))
  assert 30 <= brightest[0] < 45 and brightest[1] < 20


def test_patches_are_blocks():
  colours = np.arange(2 * 4 * 3).reshape(2, 4, 3).astype(np.uint8) * 10
  picture = np.asarray(drawing.draw_patches(_canvas(CROP), colours))
  np.testing.assert_array_equal(picture[45:75:29, 10::20], colours)
  assert not picture[:30].any() and not picture[90:].any()


def test_seen_is_cropped_or_padded():
  film = np.arange(120 * 80).reshape(120, 80) % 251
  canvas = drawing.Canvas(film.astype(np.uint8), CROP)
  np.testing.assert_array_equal(canvas.seen(), film[30:90])
  beyond = drawing.Canvas(canvas.film, View(-0.5, 0.0, 2.0, 1.0)).seen()
  assert beyond.shape == (240, 80)
  assert not beyond[:60].any() and not beyond[180:].any()


def test_a_frame_is_drawn_only_around_a_crop():
  colour = (0, 229, 255)
  framed = np.asarray(drawing.draw_film(_canvas(CROP)))
  assert (framed[30, 40] == colour).all() and (framed[89, 40] == colour).all()
  assert (np.asarray(drawing.draw_film(_canvas())) == 100).all()


def test_points_are_marked_where_they_are():
  picture = np.asarray(drawing.draw_film(_canvas(), [(0.5, 0.25)]), int)
  changed = np.argwhere((picture != 100).any(-1))
  ring = changed[changed[:, 1] < 40]  # Its number stands on the right.
  assert abs(ring[:, 0].mean() - 30) < 2
  assert 25 < ring[:, 1].min() < 40


@pytest.mark.parametrize(
  "count, shape", [(3, (1, 3)), (6, (2, 3)), (12, (3, 4))]
)
def test_tiles_are_in_reading_order(count, shape):
  shades = [
    Image.new("RGB", (80, 60), (10 * i,) * 3) for i in range(1, count + 1)
  ]
  sheet = np.asarray(drawing.tile(shades))
  rows, columns = shape
  assert sheet.shape == (rows * 66 - 6, columns * 86 - 6, 3)
  centres = sheet[50::66, 70::86, 0]
  np.testing.assert_array_equal(centres.ravel(), 10 * np.arange(1, count + 1))


def test_png_is_the_picture_and_jpeg_nearly():
  picture = drawing.draw_film(_canvas())
  for encode, tolerance in ((drawing.to_png, 0), (drawing.to_jpeg, 3)):
    decoded = np.asarray(Image.open(io.BytesIO(encode(picture))), int)
    assert np.abs(decoded - np.asarray(picture, int)).max() <= tolerance
