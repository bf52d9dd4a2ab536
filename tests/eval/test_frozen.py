"""Choices are made on validation, and k-NN learns from training films only."""

import dataclasses

import numpy as np
import pytest
from known_films import known_films
from sklearn.neighbors import NearestNeighbors

from scan42_jax.eval.frozen import (
  TokenSplit,
  TokenSplits,
  fit_knn,
  fit_linear,
  fit_logistic,
)
from scan42_jax.eval.settings import (
  EvalSettings,
  KnnSettings,
  LinearSettings,
)
from scan42_jax.metrics.ranking import auroc

WIDTH = 4
SETTINGS = EvalSettings(
  knn=KnnSettings(neighbours=(1, 15)),
  linear=LinearSettings(
    learning_rates=(1e-4, 0.1), steps=80, batch_size=16, layers=(1, 4)
  ),
)


def _split(seed, *, signal=2.0):
  rng = np.random.default_rng(seed)
  labels = (rng.random((120, 2)) < 0.4).astype(np.float32)
  tokens = rng.normal(size=(120, 2 * WIDTH)).astype(np.float32)
  tokens[:, :2] += signal * labels
  return TokenSplit(tokens, known_films(labels, first=1000 * seed))


@pytest.fixture
def splits():
  return TokenSplits(_split(1), _split(2), _split(3), WIDTH)


@pytest.mark.parametrize("fit", [fit_linear, fit_logistic, fit_knn])
def test_what_the_tokens_tell_is_found(fit, splits):
  fitted = fit(splits, SETTINGS)
  test = fitted.test
  assert auroc(test.films.labels, test.scores, test.films.valid).min() > 0.75
  values = [one["validation_auroc"] for one in fitted.choice["tried"]]
  assert max(values) > 0.75
  assert len(values) > 1


@pytest.mark.parametrize("fit", [fit_linear, fit_logistic, fit_knn])
def test_test_labels_play_no_part(fit, splits):
  films = splits.test.films
  other = dataclasses.replace(
    splits.test,
    films=dataclasses.replace(films, labels=1 - films.labels),
  )
  swapped = dataclasses.replace(splits, test=other)
  first, second = (fit(s, SETTINGS) for s in (splits, swapped))
  np.testing.assert_array_equal(first.test.scores, second.test.scores)
  assert first.choice == second.choice


def test_layers_that_an_encoder_lacks_are_not_tried_twice(splits):
  tried = fit_linear(splits, SETTINGS).choice["tried"]
  # One class token in the features: layers 1 and 4 are one and the same.
  assert len(tried) == 2 * 2
  assert {one["features"] for one in tried} == {
    "class token of last block",
    "class token of last block and mean patch",
  }


def test_votes_of_one_neighbour_are_its_labels(splits):
  settings = dataclasses.replace(SETTINGS, knn=KnnSettings(neighbours=(1,)))
  fitted = fit_knn(splits, settings)
  unit = [
    s.tokens[:, :WIDTH] / np.linalg.norm(s.tokens[:, :WIDTH], axis=1)[:, None]
    for s in (splits.train, splits.test)
  ]
  nearest = NearestNeighbors(n_neighbors=1).fit(unit[0]).kneighbors(unit[1])[1]
  expected = splits.train.films.labels[nearest[:, 0]]
  np.testing.assert_allclose(fitted.test.scores, expected, atol=1e-6)
