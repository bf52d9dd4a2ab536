"""The guard against forgetting what the starting weights knew."""

import numpy as np
import pytest

from scan42_jax.eval.drift import drift_monitors, drift_problem
from scan42_jax.eval.features import LabelledFeatures
from scan42_jax.settings import DriftSettings

RNG = np.random.default_rng(0)
LABELS = np.arange(80)[:, None] % 2.0


def _features(cls, *, labelled=True):
  return LabelledFeatures(
    features=np.concatenate([cls, RNG.normal(size=cls.shape)], axis=1),
    labels=LABELS,
    valid=np.full((80, 1), labelled),
    patients=[""] * 80,
    label_names=["Nodule"],
  )


@pytest.fixture
def telling():
  """Class tokens in which each class has a direction."""
  return np.eye(2)[LABELS[:, 0].astype(int)] + RNG.normal(0, 0.05, (80, 2))


def test_the_same_features_have_not_drifted(telling):
  start = _features(telling)
  monitors = drift_monitors(_features(2 * telling), start)
  assert monitors["cka_to_start"] == pytest.approx(1)
  assert abs(monitors["knn_gain"]) < 0.01
  assert drift_problem(monitors, DriftSettings()) is None


def test_noise_in_place_of_features_is_drift(telling):
  noise = _features(RNG.normal(size=(80, 2)))
  monitors = drift_monitors(noise, _features(telling))
  assert "config.drift.min_cka=0.2" in drift_problem(monitors, DriftSettings())


def test_lost_findings_are_drift_where_features_stay_similar(telling):
  start, now = _features(telling), _features(RNG.normal(size=(80, 2)))
  monitors = drift_monitors(now, start)
  assert monitors["knn_gain"] < -0.2
  loose = DriftSettings(min_cka=0.0)
  assert "max_knn_loss=0.03" in drift_problem(monitors, loose)


def test_without_labels_only_cka_judges(telling):
  start = _features(telling, labelled=False)
  monitors = drift_monitors(start, start)
  assert set(monitors) == {"cka_to_start"}
  assert drift_problem(monitors, DriftSettings()) is None
