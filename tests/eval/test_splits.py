"""Splits that would make numbers worthless are refused."""

import dataclasses

import numpy as np
import pytest
from known_films import known_films

from scan42_jax.eval.settings import LabelledDataSettings
from scan42_jax.eval.splits import check_splits, chosen_labels

LABELS = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])


def test_a_patient_in_two_splits_stops_the_run():
  train, test = known_films(LABELS), known_films(LABELS, first=2)
  with pytest.raises(ValueError, match="patient p1 is in two splits"):
    check_splits({"train": train, "test": test})
  nobody = [""] * 4
  apart = known_films(LABELS, first=4, patients=nobody)
  check_splits({"train": known_films(LABELS, patients=nobody), "test": apart})


def test_a_film_in_two_splits_stops_the_run():
  films = known_films(LABELS, patients=[""] * 4)
  with pytest.raises(ValueError, match="film film0 is in two splits"):
    check_splits({"train": films, "test": films})


def test_splits_without_films_or_labels_are_named():
  films = known_films(LABELS)
  with pytest.raises(ValueError, match="split 'test' has no films"):
    check_splits({"train": films, "test": films.take(np.arange(0))})
  blank = dataclasses.replace(films, valid=np.zeros((4, 2), bool))
  with pytest.raises(ValueError, match="split 'test' has no film with a known"):
    check_splits({"test": blank})


def test_classes_must_be_exclusive():
  check_splits({"test": known_films(LABELS)}, exclusive=True)
  both = LABELS.copy()
  both[2] = 1
  with pytest.raises(ValueError, match="film2 of split 'test' belongs to 2"):
    check_splits({"test": known_films(both)}, exclusive=True)


def test_unknown_labels_are_named():
  there = ("Edema", "Mass")
  settings = LabelledDataSettings(labels=("Edema", "Oedema"))
  with pytest.raises(ValueError, match="'Oedema', which phantom does not have"):
    chosen_labels(settings, there)
  assert chosen_labels(LabelledDataSettings(), there) == there
  with pytest.raises(ValueError, match="has no labels"):
    chosen_labels(LabelledDataSettings(), ())
