"""Predictions are written and read back without loss."""

import numpy as np
import pytest
from known_films import known_films

from scan42_jax.eval.scored import (
  Scored,
  read_predictions,
  write_predictions,
)


def _scored(first):
  rng = np.random.default_rng(first)
  valid = rng.random((9, 2)) < 0.7
  films = known_films(rng.integers(0, 2, (9, 2)), valid=valid, first=first)
  return Scored.from_logits(
    films, rng.normal(size=(9, 2)).astype(np.float32), exclusive=False
  )


def test_round_trip(tmp_path):
  path = tmp_path / "predictions.csv"
  validation, test = _scored(0), _scored(20)
  write_predictions(path, [("validation", validation), ("test", test)])
  found = read_predictions(path)
  np.testing.assert_array_equal(found.scores, test.scores)
  np.testing.assert_array_equal(found.probabilities, test.probabilities)
  np.testing.assert_array_equal(found.films.labels, test.films.labels)
  np.testing.assert_array_equal(found.films.valid, test.films.valid)
  np.testing.assert_array_equal(found.films.ages, test.films.ages)
  for name in ("image_ids", "patients", "views", "sexes"):
    assert list(getattr(found.films, name)) == list(getattr(test.films, name))
  assert list(found.films.label_names) == ["finding 0", "finding 1"]
  other = read_predictions(path, split="validation")
  np.testing.assert_array_equal(other.scores, validation.scores)
  with pytest.raises(ValueError, match="no film of split 'train'"):
    read_predictions(path, split="train")


def test_another_table_is_refused(tmp_path):
  path = tmp_path / "predictions.csv"
  path.write_text("a,b\n1,2\n")
  with pytest.raises(ValueError, match="no table of predictions"):
    read_predictions(path)


def test_classes_are_ranked_by_probability():
  films = known_films(np.eye(2))
  logits = np.array([[900.0, 899.0], [0.0, 1.0]])
  scored = Scored.from_logits(films, logits, exclusive=True)
  np.testing.assert_allclose(scored.probabilities.sum(axis=1), 1)
  np.testing.assert_allclose(scored.scores[0], [0.731059, 0.268941], rtol=1e-5)
