"""Figures, their intervals, and what stays undefined."""

import math

import golden_files
import numpy as np
import pytest
from known_films import known_films
from sklearn.metrics import roc_auc_score

from scan42_jax.eval.measuring import choose_thresholds, measure
from scan42_jax.eval.scored import Scored
from scan42_jax.eval.settings import ReportSettings

SETTINGS = ReportSettings(draws=120, paper_labels=("finding 0",))


def _scored(seed, number=200):
  """Finding 0 is told by its score; 1 is rare; 2 is in every film."""
  rng = np.random.default_rng(seed)
  labels = np.ones((number, 3))
  labels[:, 0] = rng.random(number) < 0.4
  labels[:, 1] = np.arange(number) < 4
  logits = rng.normal(size=(number, 3))
  logits[:, 0] += 2 * labels[:, 0]
  films = known_films(labels, first=1000 * seed)
  return Scored.from_logits(films, logits, exclusive=False)


@pytest.fixture(scope="module")
def figures():
  validation = _scored(1)
  thresholds = choose_thresholds(validation, wanted_specificity=0.9)
  return measure(_scored(2), thresholds, settings=SETTINGS, seed=0)


def test_a_label_with_one_class_is_undefined_and_in_no_mean(figures):
  constant = figures.labels[2]
  assert math.isnan(constant.auroc.value)
  assert math.isnan(constant.auprc.value)
  assert math.isnan(constant.sensitivity.value)
  assert constant.confusion == []
  everything = figures.means[0]
  assert everything.undefined == ["finding 2"]
  assert everything.labels == ["finding 0", "finding 1"]
  mean = (figures.labels[0].auroc.value + figures.labels[1].auroc.value) / 2
  assert everything.auroc == pytest.approx(mean)


def test_means_with_an_interval_leave_rare_labels_out(figures):
  everything, paper = figures.means
  assert everything.steady_labels == ["finding 0"]
  assert everything.steady_auroc.value == figures.labels[0].auroc.value
  assert paper.labels == paper.steady_labels == ["finding 0"]
  found = paper.steady_auroc
  assert found.low < found.value < found.high
  assert found.low < found.median < found.high


def test_areas_are_those_of_scikit_learn(figures):
  test = _scored(2)
  expected = roc_auc_score(test.films.labels[:, 0], test.scores[:, 0])
  assert figures.labels[0].auroc.value == pytest.approx(expected, abs=1e-12)


def test_threshold_comes_from_validation(figures):
  validation, label = _scored(1), figures.labels[0]
  negatives = validation.films.labels[:, 0] < 0.5
  kept = validation.probabilities[negatives, 0] < label.threshold
  assert kept.mean() >= 0.9
  assert label.sensitivity.low < label.sensitivity.value < 1
  assert label.sensitivity.high <= 1
  assert sum(map(sum, label.confusion)) == 200
  rare = figures.labels[1]
  assert (rare.positives, rare.negatives) == (4, 196)


def test_draws_that_leave_one_class_are_counted():
  labels = np.zeros((30, 1))
  labels[0] = 1
  films = known_films(labels, patients=[""] * 30)
  test = Scored.from_logits(films, np.arange(30.0)[:, None], exclusive=False)
  figures = measure(
    test,
    choose_thresholds(test, wanted_specificity=0.9),
    settings=ReportSettings(draws=200),
    seed=0,
  )
  # The one positive film is left out of (29/30)^30, about 36 %, of the draws.
  assert 40 < figures.labels[0].auroc.undefined_draws < 105
  assert math.isnan(figures.means[0].steady_auroc.value)
  assert figures.means[0].auroc == 0.0


def test_resampling_by_image_is_narrower_than_by_patient():
  # Two films of a patient are one and the same.
  test = _scored(3, number=100)
  twice = test.take(np.repeat(np.arange(100), 2))
  twice.films.patients[:] = [f"p{i // 2}" for i in range(200)]
  thresholds = choose_thresholds(test, wanted_specificity=0.9)

  def width(unit):
    settings = ReportSettings(draws=200, resample=unit)
    found = measure(twice, thresholds, settings=settings, seed=0)
    return found.labels[0].auroc.high - found.labels[0].auroc.low

  assert width("image") < 0.85 * width("patient")


def test_golden_means(golden_file):
  arrays, meta = golden_files.load(golden_file("eval_classification.npz"))
  labels, scores = arrays["in/labels"], arrays["in/scores"]
  test = Scored.from_logits(known_films(labels), scores, exclusive=False)
  figures = measure(
    test,
    choose_thresholds(test, wanted_specificity=0.9),
    settings=ReportSettings(draws=100),
    seed=0,
  )
  names = test.films.label_names
  defined = [names[c] for c in meta["valid_classes"]]
  assert set(figures.means[0].labels) <= set(defined)
  for name, value in [
    ("auroc_macro_valid_classes", figures.means[0].auroc),
    ("auroc_weighted_valid_classes", figures.weighted_auroc),
  ]:
    np.testing.assert_allclose(value, arrays[f"out/{name}"], rtol=1e-10)
