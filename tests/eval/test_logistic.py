"""Logistic regression against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from scan42_jax.eval.heads import FeatureSet, probabilities
from scan42_jax.eval.logistic import Scaling, logistic_path
from scan42_jax.eval.settings import LogisticSettings
from scan42_jax.metrics.ranking import auroc

WIDTH = 3
SET = FeatureSet(1, True)


def _data(rows, seed):
  rng = np.random.default_rng(seed)
  x = (rng.normal(size=(rows, 2 * WIDTH)) * 3 + 1).astype(np.float32)
  noise = rng.normal(size=(rows, 2)) * 3
  y = (x[:, :2] - 1 + noise > 0).astype(np.float32)
  return x, y, np.ones(y.shape, bool)


def _fit(x, y, valid, l2, **options):
  settings = LogisticSettings(l2=l2)
  return list(
    logistic_path(x, y, valid, settings=settings, feature_set=SET, **options)
  )


def test_agrees_with_scikit_learn_along_the_path():
  x, y, valid = _data(400, 0)
  held_out, truth, _ = _data(400, 1)
  scaling = Scaling.of(x)
  for l2, head in _fit(x, y, valid, (0.1, 0.01, 1e-4)):
    ours = head.scores(held_out, width=WIDTH)
    theirs = np.stack(
      [
        LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8)
        .fit(scaling.apply(x), y[:, c])
        .decision_function(scaling.apply(held_out))
        for c in range(2)
      ],
      axis=1,
    )
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    np.testing.assert_allclose(
      auroc(truth, ours), auroc(truth, theirs), atol=1e-4
    )


def test_fits_films_fewer_than_features_hardly_regularised():
  rng = np.random.default_rng(5)
  x = rng.normal(size=(50, 120)).astype(np.float32)
  y = (rng.random((50, 3)) < 0.3).astype(np.float32)
  held_out = rng.normal(size=(40, 120)).astype(np.float32)
  path = _fit(x, y, np.ones(y.shape, bool), (1.0, 0.01, 1e-5))
  scaling = Scaling.of(x)
  scaled, shown = (scaling.apply(z).astype(np.float64) for z in (x, held_out))
  for l2, head in path:
    ours = head.scores(held_out, width=60)
    for c in range(3):
      exact = LogisticRegression(
        C=1 / (l2 * len(x)), solver="newton-cholesky", tol=1e-12
      ).fit(scaled, y[:, c])
      theirs = exact.decision_function(shown)
      np.testing.assert_allclose(
        ours[:, c], theirs, atol=2e-3 * np.abs(theirs).max()
      )


def test_exclusive_classes_agree_with_scikit_learn():
  rng = np.random.default_rng(3)
  x = rng.normal(size=(300, 2 * WIDTH)).astype(np.float32)
  truth = (x[:, :3] + rng.normal(size=(300, 3))).argmax(axis=1)
  y = np.eye(3, dtype=np.float32)[truth]
  [(l2, head)] = _fit(x, y, np.ones(y.shape, bool), (0.01,), exclusive=True)
  scaled = Scaling.of(x).apply(x)
  theirs = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8).fit(scaled, truth)
  np.testing.assert_allclose(
    probabilities(head.scores(x, width=WIDTH), exclusive=True),
    theirs.predict_proba(scaled),
    atol=2e-3,
  )


def test_masked_labels_do_not_count():
  x, y, valid = _data(300, 2)
  wrong = y.copy()
  wrong[:150] = 1 - wrong[:150]
  valid[:150] = False
  scaling = Scaling.of(x)
  [(_, masked)] = _fit(x, wrong, valid, (0.01,), scaling=scaling)
  [(_, fewer)] = _fit(x[150:], y[150:], valid[150:], (0.01,), scaling=scaling)
  np.testing.assert_allclose(masked.kernel, fewer.kernel, atol=1e-4)


def test_a_constant_feature_does_no_harm():
  x, y, valid = _data(100, 4)
  x[:, 3] = 7.0
  [(_, head)] = _fit(x, y, valid, (0.01,))
  assert np.isfinite(head.kernel).all()
  assert head.kernel[3] == pytest.approx(0, abs=1e-5)
