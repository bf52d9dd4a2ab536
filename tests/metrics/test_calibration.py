"""Calibration of probabilities."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from scan42_jax.metrics.calibration import (
  brier,
  calibration_error,
  reliability,
)


def test_honest_probabilities_are_calibrated_and_bold_ones_are_not():
  rng = np.random.default_rng(0)
  honest = rng.random((20_000, 1))
  labels = (rng.random(honest.shape) < honest).astype(float)
  valid = np.ones(labels.shape, bool)
  bold = np.where(honest > 0.5, 0.99, 0.01)
  assert calibration_error(labels, honest, valid)[0] < 0.02
  # Half of the films are far from 0.99 or 0.01, by 0.25 in the mean.
  assert calibration_error(labels, bold, valid)[0] == pytest.approx(
    0.24, abs=0.02
  )


def test_brier_equals_scikit_learn_on_known_labels():
  rng = np.random.default_rng(1)
  labels = rng.integers(0, 2, (50, 2)).astype(float)
  probs = rng.random((50, 2))
  valid = rng.random((50, 2)) < 0.7
  for c, value in enumerate(brier(labels, probs, valid)):
    keep = valid[:, c]
    expected = brier_score_loss(labels[keep, c], probs[keep, c])
    assert value == pytest.approx(expected, rel=1e-12)


def test_without_labels_it_is_undefined():
  nothing = np.zeros((4, 1))
  assert np.isnan(brier(nothing, nothing, nothing > 0)[0])
  assert np.isnan(calibration_error(nothing, nothing, nothing > 0)[0])


def test_a_probability_of_one_is_in_the_last_bin():
  mean, share, count = reliability(np.ones(3), np.ones(3), bins=4)
  np.testing.assert_array_equal(count, [0, 0, 0, 3])
  assert mean[3] == share[3] == 1
  assert np.isnan(mean[:3]).all()
