"""AUROC against scikit-learn's numbers."""

import golden_files
import numpy as np

from scan42_jax.metrics.ranking import auroc


def test_golden_auroc(golden_file):
  arrays, _ = golden_files.load(golden_file("eval_classification.npz"))
  labels, scores = arrays["in/labels"].astype(float), arrays["in/scores"]
  np.testing.assert_allclose(
    auroc(labels, scores), arrays["out/auroc_per_class"], rtol=1e-10
  )
  np.testing.assert_allclose(
    auroc(labels, scores, arrays["in/valid"]),
    arrays["out/missing_labels/auroc_per_class"],
    rtol=1e-10,
  )


def test_ties_count_half_and_one_class_is_undefined():
  labels = np.array([[1.0, 1.0], [0.0, 1.0]])
  values = auroc(labels, np.zeros((2, 2)))
  assert values[0] == 0.5
  assert np.isnan(values[1])
