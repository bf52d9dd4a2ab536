"""Areas against scikit-learn's numbers."""

import golden_files
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from scan42_jax.metrics.ranking import (
  RankedScores,
  auprc,
  auroc,
  precision_recall_curve,
  roc_curve,
  weighted_mean,
)


def test_golden_areas(golden_file):
  arrays, meta = golden_files.load(golden_file("eval_classification.npz"))
  labels, scores = arrays["in/labels"].astype(float), arrays["in/scores"]
  kept = meta["valid_classes"]
  ranked = RankedScores(labels, scores)
  ours = {
    "auroc_per_class": ranked.auroc(),
    "auprc_per_class": ranked.auprc(),
    "auroc_macro_valid_classes": ranked.auroc()[kept].mean(),
    "auprc_macro_valid_classes": ranked.auprc()[kept].mean(),
    "auroc_weighted_valid_classes": weighted_mean(
      ranked.auroc()[kept], labels[:, kept].sum(axis=0)
    ),
  }
  micro = RankedScores(labels[:, kept], scores[:, kept]).micro()
  ours["auroc_micro_valid_classes"] = micro[0]
  ours["auprc_micro_valid_classes"] = micro[1]
  for name, value in ours.items():
    np.testing.assert_allclose(
      value, arrays[f"out/{name}"], rtol=1e-10, err_msg=name
    )


def test_golden_areas_with_missing_labels(golden_file):
  arrays, meta = golden_files.load(golden_file("eval_classification.npz"))
  labels, scores = arrays["in/labels"].astype(float), arrays["in/scores"]
  ranked = RankedScores(labels, scores, arrays["in/valid"])
  for name, value in [
    ("auroc_per_class", ranked.auroc()),
    ("auprc_per_class", ranked.auprc()),
    ("auroc_macro", ranked.auroc()[meta["valid_classes_missing"]].mean()),
  ]:
    np.testing.assert_allclose(
      value, arrays[f"out/missing_labels/{name}"], rtol=1e-10, err_msg=name
    )


def test_golden_multiclass(golden_file):
  arrays, _ = golden_files.load(golden_file("eval_classification.npz"))
  probs, truth = arrays["in/multiclass_probs"], arrays["in/multiclass_labels"]
  labels = np.eye(probs.shape[1])[truth]
  areas = auroc(labels, probs)
  np.testing.assert_allclose(
    areas.mean(), arrays["out/multiclass/auroc_ovr_macro"], rtol=1e-10
  )
  np.testing.assert_allclose(
    weighted_mean(areas, labels.sum(axis=0)),
    arrays["out/multiclass/auroc_ovr_weighted"],
    rtol=1e-10,
  )


def test_ties_count_half_and_one_class_is_undefined():
  labels = np.array([[1.0, 1.0], [0.0, 1.0]])
  values = auroc(labels, np.zeros((2, 2)))
  assert values[0] == 0.5
  assert np.isnan(values[1])
  assert np.isnan(auprc(np.zeros((2, 1)), np.zeros((2, 1)))[0])


@settings(deadline=None, max_examples=60)
@given(
  st.lists(
    st.tuples(st.booleans(), st.integers(-4, 4), st.booleans()),
    min_size=2,
    max_size=60,
  )
)
def test_equals_scikit_learn(rows):
  positive, scores, valid = (np.array(x) for x in zip(*rows, strict=True))
  labels = positive[:, None].astype(float)
  ranked = RankedScores(labels, scores[:, None] / 3, valid[:, None])
  kept = positive[valid]
  if kept.any() and not kept.all():
    expected = roc_auc_score(kept, scores[valid] / 3)
    assert abs(ranked.auroc()[0] - expected) < 1e-12
  if kept.any():
    expected = average_precision_score(kept, scores[valid] / 3)
    assert abs(ranked.auprc()[0] - expected) < 1e-12


def test_resampled_rows_equal_a_set_of_their_own():
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 2, (80, 3)).astype(float)
  scores = rng.integers(0, 20, (80, 3)).astype(float)
  valid = rng.random((80, 3)) < 0.8
  rows = rng.integers(80, size=120)
  whole = RankedScores(labels, scores, valid)
  part = RankedScores(labels[rows], scores[rows], valid[rows])
  np.testing.assert_allclose(whole.auroc(rows), part.auroc(), rtol=1e-12)
  np.testing.assert_allclose(whole.auprc(rows), part.auprc(), rtol=1e-12)
  np.testing.assert_allclose(whole.micro(rows), part.micro(), rtol=1e-12)


def test_curves_hold_the_areas():
  rng = np.random.default_rng(1)
  positive, scores = rng.random(200) < 0.3, rng.integers(0, 30, 200) * 1.0
  false, true = roc_curve(positive, scores)
  labels = positive[:, None].astype(float)
  area = np.trapezoid(true, false)
  np.testing.assert_allclose(area, auroc(labels, scores[:, None])[0])
  recall, precision = precision_recall_curve(positive, scores)
  area = (np.diff(recall, prepend=0) * precision).sum()
  np.testing.assert_allclose(area, auprc(labels, scores[:, None])[0])
