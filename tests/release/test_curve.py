"""The training curve: what is drawn where."""

import io

import numpy as np
import pytest
from PIL import Image

from scan42_jax.release.curve import draw_curves, ticks


def _pixels(history):
  picture = Image.open(io.BytesIO(draw_curves(history)))
  return np.asarray(picture.convert("RGB")).astype(int)


def _line(pixels):
  """Row of the blue line in each column that has one."""
  blue = (pixels[..., 2] - pixels[..., 0]) > 100
  columns = np.flatnonzero(blue.any(axis=0))
  return columns, np.array([np.flatnonzero(blue[:, c]).mean() for c in columns])


def test_a_falling_loss_falls():
  falling = [(step, 10.0 - step / 50) for step in range(1, 401)]
  columns, rows = _line(_pixels({"loss": falling}))
  assert columns[-1] - columns[0] > 600
  assert np.all(np.diff(rows) >= -1e-9) and rows[-1] - rows[0] > 100


def test_one_panel_for_each_curve_there_is():
  loss = {"loss": [(1, 2.0), (2, 1.0)]}
  auroc = {"held_out/knn_auroc": [(2, 0.5)]}
  one, two = _pixels(loss), _pixels(loss | auroc)
  assert two.shape[0] == 2 * one.shape[0]
  # A curve of one point is a point.
  columns, _ = _line(two[one.shape[0] :])
  assert 3 <= len(columns) <= 9


def test_constant_and_zero_curves_are_drawn():
  for value in (0.0, 7.0):
    columns, rows = _line(_pixels({"loss": [(0, value), (9, value)]}))
    assert len(columns) > 600 and np.ptp(rows) < 4


def test_nothing_to_draw():
  assert draw_curves({"koleo": [(1, 1.0)]}) is None


@pytest.mark.parametrize(
  "low, high, expected",
  [
    (0, 700, [0, 200, 400, 600]),
    (0.5012, 0.5431, [0.51, 0.52, 0.53, 0.54]),
    (-3, 3, [-2, 0, 2]),
    (5, 5, [5]),
  ],
)
def test_ticks_are_round(low, high, expected):
  np.testing.assert_allclose(ticks(low, high), expected)
