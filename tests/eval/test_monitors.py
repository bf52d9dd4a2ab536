"""Monitors tell healthy features from collapsed ones."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.eval.features import LabelledFeatures
from scan42_jax.eval.linear_probe import compare_probes
from scan42_jax.eval.monitors import held_out_monitors


def _films(seed, *, signal, rows=200, labelled=True):
  """Features whose first channel carries the label, as far as told."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, 2, (rows, 1)).astype(np.float32)
  features = rng.normal(size=(rows, 8)).astype(np.float32)
  features[:, :1] += signal * (labels - 0.5)
  return LabelledFeatures(
    features=features,
    labels=labels,
    valid=np.full(labels.shape, labelled),
    patients=[f"p{i}" for i in range(rows)],
    label_names=["Nodule"],
  )


def _monitor(films, scale=1.0):
  return held_out_monitors(
    films,
    lambda cls: scale * cls @ jnp.eye(4, 16),
    center=jnp.zeros(16),
    temperature=0.1,
  )


def test_features_that_carry_the_label_are_seen():
  assert _monitor(_films(0, signal=6.0))["knn_auroc"] > 0.9
  assert _monitor(_films(0, signal=0.0))["knn_auroc"] == pytest.approx(
    0.5, abs=0.1
  )


def test_collapse_is_seen():
  healthy = _films(1, signal=1.0)
  line = np.outer(healthy.features[:, 0], np.ones(8))
  constant = dataclasses.replace(healthy, features=line)
  assert _monitor(healthy)["effective_rank"] > 6
  assert _monitor(constant)["effective_rank"] < 1.1
  assert _monitor(healthy, scale=0.0)["teacher_entropy"] == pytest.approx(
    np.log(16), rel=1e-5
  )
  assert _monitor(healthy, scale=0.0)["prototype_use"] == pytest.approx(1 / 16)


def test_without_labels_there_is_no_knn():
  assert "knn_auroc" not in _monitor(_films(2, signal=1.0, labelled=False))


def test_paired_comparison_of_probes():
  splits = [
    (_films(seed, signal=0.0), _films(seed, signal=4.0)) for seed in (3, 4, 5)
  ]
  result = compare_probes(splits)
  assert result["trained"] > 0.9
  assert abs(result["untrained"] - 0.5) < 0.15
  assert result["gain_low"] < result["gain"] < result["gain_high"]
  assert result["gain_low"] > 0.2
  assert result["test_patients"] == 200
