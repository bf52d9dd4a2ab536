"""Films merged by patient and parted into subgroups."""

import numpy as np
import pytest
from known_films import known_films

from scan42_jax.eval.grouping import by_patient, subgroups


def test_a_patient_has_the_highest_score_and_any_positive_label():
  films = known_films(
    [[0.0], [1.0], [0.0], [1.0]],
    valid=[[True], [True], [True], [False]],
    patients=["b", "a", "b", "a"],
  )
  scores = np.array([[0.1], [0.2], [0.7], [0.9]])
  merged, best = by_patient(films, scores)
  assert merged.patients == ["a", "b"]
  np.testing.assert_array_equal(best, [[0.9], [0.7]])
  np.testing.assert_array_equal(merged.labels, [[1.0], [0.0]])
  assert merged.valid.all()


def test_unknown_patients_cannot_be_merged():
  films = known_films([[0.0], [1.0]], patients=["a", ""])
  with pytest.raises(ValueError, match="every film's patient"):
    by_patient(films, np.zeros((2, 1)))


def test_every_film_is_in_one_group_of_each_kind():
  films = known_films(np.zeros((40, 1)))
  found = subgroups(films, age_bands=(30.0, 50.0))
  assert set(found["age"]) == {"0-30", "30-50", "50+", "unknown"}
  assert set(found["view"]) == {"PA", "AP", "unknown"}
  for groups in found.values():
    rows = np.sort(np.concatenate(list(groups.values())))
    np.testing.assert_array_equal(rows, np.arange(40))
  ages = films.ages[found["age"]["30-50"]]
  assert ages.min() >= 30
  assert ages.max() < 50
