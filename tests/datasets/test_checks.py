"""Contradictions and too much damage stop a preparation."""

import pytest

from scan42_jax.datasets import checks
from scan42_jax.datasets.reading import Row


@pytest.mark.parametrize(
  ("rows", "message"),
  [
    ([Row(file="a", where="row 2", split="dev")], "row 2: split 'dev'"),
    ([Row(file="a", where="row 2", labels=(1,))], "1 labels instead of 0"),
    (
      [
        Row(file="a", where="row 2", patient_id="p", split="train"),
        Row(file="b", where="row 9", patient_id="p", split="test"),
      ],
      "row 2 is in train, row 9 in test",
    ),
  ],
)
def test_contradicting_rows_stop(rows, message):
  with pytest.raises(ValueError, match=message):
    checks.check_rows(rows, 0)


def test_rows_with_a_fault_contradict_nothing():
  checks.check_rows([Row(file="a", split="dev", fault="row 2: split 'dev'")], 3)


@pytest.mark.parametrize(
  ("films", "message"),
  [
    (
      [("a", "p", "train", "a.dcm"), ("b", "p", "test", "b.dcm")],
      "two splits",
    ),
    ([("a", "", "train", "a.dcm"), ("a", "", "train", "b.dcm")], "one image"),
  ],
)
def test_contradicting_films_stop(films, message):
  with pytest.raises(ValueError, match=message):
    checks.check_films(films)


def test_unknown_patients_are_not_one_patient():
  checks.check_films([("a", "", "train", "a"), ("b", "", "test", "b")])


def test_more_damage_than_allowed_stops():
  checks.check_broken(["cut"], 10, max_percent=10.0)
  checks.check_broken([], 0, max_percent=0.0)
  with pytest.raises(ValueError, match=r"2 of 10 .*\(20\.0 %, .* first: cut"):
    checks.check_broken(["cut", "absent"], 10, max_percent=19.9)


def test_a_handful_of_files_is_judged_only_on_request():
  checks.check_broken(["cut"] * 99, 99, max_percent=None)
  with pytest.raises(ValueError, match=r"allowed are 10 %"):
    checks.check_broken(["cut"] * 11, 100, max_percent=None)
