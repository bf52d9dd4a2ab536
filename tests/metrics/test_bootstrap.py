"""The bootstrap resamples patients, not films."""

import numpy as np

from scan42_jax.metrics.bootstrap import (
  estimate,
  interval,
  patient_bootstrap,
)


def test_films_of_a_patient_stay_together():
  patients = ["a", "a", "b", "", ""]
  counts = patient_bootstrap(
    lambda rows: np.bincount(rows, minlength=5), patients, draws=50
  )
  np.testing.assert_array_equal(counts[:, 0], counts[:, 1])
  assert (counts[:, 3] != counts[:, 4]).any()
  # Four patients are drawn each time: a, b and two unknown ones.
  assert (counts[:, 1:].sum(axis=1) == 4).all()


def test_interval_covers_the_mean_of_known_data():
  rng = np.random.default_rng(0)
  values = rng.normal(size=400)
  samples = patient_bootstrap(
    lambda rows: values[rows].mean(), [""] * 400, draws=500
  )
  low, high = interval(samples)
  assert low < values.mean() < high
  assert 0.15 < high - low < 0.25  # 2 * 1.96 / sqrt(400)


def test_undefined_draws_are_counted_and_left_out():
  samples = np.array([np.nan, 1.0, 2.0, 3.0])
  found = estimate(2.5, samples)
  assert found.undefined_draws == 1
  assert (found.value, found.median) == (2.5, 2.0)
  assert 1.0 <= found.low < found.high <= 3.0
  assert str(estimate(np.nan, samples)) == "undefined"
  assert str(estimate(0.5, np.full(3, np.nan))) == "0.500"
