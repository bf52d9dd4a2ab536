"""Choices on validation."""

import math

import numpy as np
import pytest

from scan42_jax.eval.choosing import best_of, macro_mean

LABELS = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
SCORES = np.array([[2.0, 0.0], [1.0, 0.0], [0.5, 0.0]])
VALID = np.ones((3, 2), bool)


def test_labels_of_one_class_are_left_out():
  assert macro_mean(LABELS, SCORES, VALID) == 0.5
  assert macro_mean(LABELS, SCORES, VALID, metric="auprc") == pytest.approx(
    (1 + 2 / 3) / 2
  )
  assert math.isnan(macro_mean(LABELS, SCORES, VALID, columns=[1]))


def test_scores_that_are_not_finite_never_win():
  bad = np.full((3, 2), np.nan)
  best, values = best_of([bad, SCORES], lambda s: macro_mean(LABELS, s, VALID))
  assert best is SCORES
  assert values == [-math.inf, 0.5]


def test_nothing_to_judge_by_is_said():
  with pytest.raises(ValueError, match="no label has both"):
    best_of([SCORES], lambda s: macro_mean(LABELS, s, VALID, columns=[1]))
