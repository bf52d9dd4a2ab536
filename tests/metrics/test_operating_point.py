"""Thresholds and what they count."""

import golden_files
import numpy as np
import pytest

from scan42_jax.metrics.operating_point import (
  accuracy,
  class_confusion,
  confusion,
  f1_score,
  sensitivity,
  specificity,
  threshold_at_best_f1,
  threshold_at_specificity,
)


def test_golden_accuracy_and_f1(golden_file):
  arrays, _ = golden_files.load(golden_file("eval_classification.npz"))
  labels = arrays["in/labels"].astype(float)
  called = arrays["in/scores"] >= 0.5
  counts = confusion(labels, called, np.ones(labels.shape, bool))
  for name, value in [
    ("accuracy", accuracy(counts)),
    ("f1", f1_score(counts)),
  ]:
    np.testing.assert_allclose(
      value, arrays[f"out/{name}_at_0.5_per_class"], rtol=1e-10
    )


def test_golden_top1(golden_file):
  arrays, _ = golden_files.load(golden_file("eval_classification.npz"))
  probs, truth = arrays["in/multiclass_probs"], arrays["in/multiclass_labels"]
  classes = probs.shape[1]
  counts = class_confusion(truth, probs.argmax(axis=1), classes=classes)
  np.testing.assert_allclose(
    np.trace(counts) / counts.sum(),
    arrays["out/multiclass/accuracy_top1"],
    rtol=1e-10,
  )


@pytest.mark.parametrize("wanted", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_threshold_keeps_the_specificity(wanted):
  rng = np.random.default_rng(0)
  positive = rng.random(101) < 0.4
  scores = np.round(rng.normal(size=101) + positive, 1)
  threshold = threshold_at_specificity(positive, scores, wanted)
  reached = (scores[~positive] < threshold).mean()
  assert reached >= wanted
  lower = scores[scores < threshold]
  if len(lower):  # The next lower threshold would not do.
    assert (scores[~positive] < lower.max()).mean() < wanted


def test_best_f1_is_the_best_of_all_scores():
  rng = np.random.default_rng(1)
  positive = rng.random(60) < 0.3
  scores = np.round(rng.normal(size=60) + positive, 1)

  def f1(threshold):
    called = (scores >= threshold)[:, None]
    labels = positive[:, None].astype(float)
    return f1_score(confusion(labels, called, np.ones((60, 1), bool)))[0]

  best = threshold_at_best_f1(positive, scores)
  assert f1(best) == max(map(f1, scores))


def test_missing_labels_do_not_count_and_empty_shares_are_undefined():
  labels = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
  valid = np.array([[True, True], [True, True], [False, False]])
  counts = confusion(labels, np.ones((3, 2), bool), valid)
  np.testing.assert_array_equal(counts[0], [[0, 1], [0, 1]])
  assert sensitivity(counts)[1] == 1
  assert np.isnan(specificity(counts)[1])
  assert np.isnan(threshold_at_specificity(np.ones(2, bool), np.ones(2), 0.9))
  assert np.isnan(threshold_at_best_f1(np.zeros(2, bool), np.ones(2)))
