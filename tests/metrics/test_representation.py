"""Monitors of collapse."""

import numpy as np
import pytest

from scan42_jax.metrics import representation
from scan42_jax.metrics.representation import (
  effective_rank,
  knn_scores,
  linear_cka,
  neighbour_votes,
)


def test_effective_rank_counts_equal_directions():
  rng = np.random.default_rng(0)
  basis = np.linalg.qr(rng.normal(size=(400, 8)))[0]
  features = np.concatenate([basis, -basis])
  assert effective_rank(features) == pytest.approx(8, rel=1e-6)
  assert effective_rank(features[:, :1] * np.ones((1, 8))) == pytest.approx(1)


def test_neighbours_of_the_same_patient_do_not_vote():
  features = np.array([[1.0, 0.0], [1.0, 0.0], [0.9, 0.1]])
  labels = np.array([[1.0], [1.0], [0.0]])
  scores = knn_scores(
    features,
    labels,
    valid=np.ones((3, 1), bool),
    patients=["a", "a", "b"],
    neighbours=1,
  )
  assert scores[0, 0] == 0  # Its twin is the same patient's.
  assert scores[2, 0] == 1


def test_unknown_labels_do_not_vote():
  scores = knn_scores(
    np.eye(3),
    np.array([[1.0], [1.0], [0.0]]),
    valid=np.array([[True], [False], [True]]),
    patients=["", "", ""],
    neighbours=2,
  )
  assert scores[0, 0] == 0


def test_cka_sees_through_rotation_and_scale_and_nothing_else():
  rng = np.random.default_rng(0)
  a = rng.normal(size=(500, 6))
  rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
  assert linear_cka(a, 3 * a @ rotation + 1) == pytest.approx(1)
  assert linear_cka(a, rng.normal(size=(500, 4))) < 0.05
  half = np.concatenate([a[:, :3], rng.normal(size=(500, 3))], axis=1)
  assert linear_cka(a, half) == pytest.approx(0.5, abs=0.05)


def test_votes_do_not_depend_on_how_queries_are_cut(monkeypatch):
  rng = np.random.default_rng(2)
  queries, bank = rng.normal(size=(7, 4)), rng.normal(size=(30, 4))
  labels = rng.integers(0, 2, (30, 2)).astype(float)
  valid = rng.random((30, 2)) < 0.8

  def votes():
    return neighbour_votes(
      queries, bank, labels=labels, valid=valid, neighbours=5
    )

  whole = votes()
  monkeypatch.setattr(representation, "_QUERIES_AT_ONCE", 2)
  np.testing.assert_allclose(votes(), whole)
  assert ((whole >= 0) & (whole <= 1)).all()
  assert len(np.unique(whole[:, 0])) > 3
