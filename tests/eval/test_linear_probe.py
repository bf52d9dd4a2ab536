"""The probe finds what is linear in the features."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from scan42_jax.eval.linear_probe import fit_linear_probe
from scan42_jax.metrics.ranking import auroc


def _data(rows, seed):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(rows, 6)).astype(np.float32)
  noise = rng.normal(size=(rows, 2))
  y = (x[:, :2] + noise > 0).astype(np.float32)
  return x, y, np.ones(y.shape, bool)


def test_agrees_with_scikit_learn():
  x, y, valid = _data(400, 0)
  held_out = _data(400, 1)
  l2 = 0.01
  probe = fit_linear_probe(
    x, y, valid=valid, l2_strengths=[l2], validation=held_out
  )
  standard = (x - x.mean(0)) / x.std(0)
  for column in range(2):
    theirs = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8).fit(
      standard, y[:, column]
    )
    np.testing.assert_allclose(
      probe.kernel[:, column], theirs.coef_[0], atol=2e-3
    )
  assert (auroc(held_out[1], probe.scores(held_out[0])) > 0.75).all()


def test_masked_labels_do_not_count():
  x, y, valid = _data(300, 2)
  wrong = y.copy()
  wrong[:150] = 1 - wrong[:150]
  valid[:150] = False
  validation = _data(100, 3)
  probe = fit_linear_probe(
    x, wrong, valid=valid, l2_strengths=[0.01], validation=validation
  )
  assert (auroc(y[150:], probe.scores(x[150:])) > 0.7).all()
