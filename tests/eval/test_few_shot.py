"""Which patients a head may learn from."""

import numpy as np
import pytest
from known_films import known_films

from scan42_jax.eval.few_shot import draw_films, fit_few_shot
from scan42_jax.eval.frozen import TokenSplit, TokenSplits
from scan42_jax.eval.settings import (
  EvalSettings,
  FewShotSettings,
  ReportSettings,
)

WIDTH = 4


def _films(seed, first=0):
  rng = np.random.default_rng(seed)
  labels = (rng.random((80, 2)) < [0.4, 0.2]).astype(float)
  return known_films(labels, first=first, valid=rng.random((80, 2)) < 0.9)


@pytest.mark.parametrize("shots", [1, 3])
def test_as_many_patients_with_a_finding_as_without(shots):
  films = _films(0)
  drawn = draw_films(films, shots=shots, seed=(0, 1), exclusive=False)
  patients = np.array(films.patients)
  for c in range(2):
    rows = drawn[:, c]
    assert films.valid[rows, c].all()
    shows = films.labels[:, c] > 0.5
    with_it = set(patients[rows & shows])
    without = set(patients[rows & ~shows])
    assert len(with_it) == len(without) == shots
    # A patient without it has it in no film, drawn or not.
    assert not without & set(patients[shows & films.valid[:, c]])


def test_draws_differ_and_repeat():
  films = _films(0)

  def draw(number):
    return draw_films(films, shots=3, seed=(0, number), exclusive=False)

  np.testing.assert_array_equal(draw(1), draw(1))
  assert (draw(1) != draw(2)).any()


def test_too_few_patients_leave_a_finding_out():
  films = known_films(
    [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]], patients=list("abc")
  )
  drawn = draw_films(films, shots=2, seed=(0,), exclusive=False)
  assert not drawn.any()


def test_classes_have_patients_of_their_own():
  labels = np.eye(3)[np.arange(60) // 2 % 3]
  films = known_films(labels)
  drawn = draw_films(films, shots=2, seed=(0,), exclusive=True)
  np.testing.assert_array_equal(drawn.all(axis=1), drawn.any(axis=1))
  rows = drawn.all(axis=1)
  np.testing.assert_array_equal(labels[rows].sum(axis=0), [4, 4, 4])


def _split(seed, first):
  films = _films(seed, first)
  rng = np.random.default_rng(seed + 50)
  tokens = rng.normal(size=(80, 2 * WIDTH)).astype(np.float32)
  tokens[:, :2] += 4 * films.labels
  return TokenSplit(tokens, films)


def test_every_draw_is_in_the_table():
  splits = TokenSplits(_split(1, 0), _split(2, 100), _split(3, 200), WIDTH)
  settings = EvalSettings(
    few_shot=FewShotSettings(shots=(2, 50), draws=3),
    report=ReportSettings(draws=100),
  )
  fitted = fit_few_shot(splits, settings)
  draws = fitted.choice["draws"]
  # No finding has 50 patients, and that is not made up for.
  assert [(d["shots"], d["draw"]) for d in draws] == [(2, 0), (2, 1), (2, 2)]
  assert min(d["auroc"] for d in draws) > 0.6
  assert len(fitted.tables[0].rows) == 4
  assert "smallest and largest" in fitted.tables[0].note
