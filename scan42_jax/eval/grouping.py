"""Films merged by patient, and films parted into subgroups."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from scan42_jax.eval.splits import KnownFilms
from scan42_jax.types import Float


def by_patient(
  films: KnownFilms, scores: Float[np.ndarray, "N C"]
) -> tuple[KnownFilms, Float[np.ndarray, "P C"]]:
  """Merges the films of each patient: highest score, any positive label.

  A label is known where it is known of one of the films.

  Raises:
    ValueError: patients are not known.
  """
  if not all(films.patients):
    raise ValueError(
      "config.report.patient_maximum needs to know every film's patient"
    )
  _, first, patient = np.unique(
    np.array(films.patients), return_index=True, return_inverse=True
  )
  merged = films.take(first)
  shape = len(first), scores.shape[1]
  best = np.full(shape, -np.inf, scores.dtype)
  np.maximum.at(best, patient, scores)
  labels, valid = np.zeros(shape, films.labels.dtype), np.zeros(shape, bool)
  np.maximum.at(labels, patient, films.labels)
  np.logical_or.at(valid, patient, films.valid)
  return dataclasses.replace(merged, labels=labels, valid=valid), best


def subgroups(
  films: KnownFilms, *, age_bands: Iterable[float]
) -> dict[str, dict[str, np.ndarray]]:
  """Returns the rows of each group by sex, age band and view."""
  edges = [0.0, *age_bands, math.inf]
  ages = np.array(
    [
      _band(age, edges) if not math.isnan(age) else "unknown"
      for age in films.ages
    ]
  )
  parts = {
    "sex": np.array([s or "unknown" for s in films.sexes]),
    "age": ages,
    "view": np.array([v or "unknown" for v in films.views]),
  }
  return {
    what: {
      str(group): np.flatnonzero(values == group) for group in np.unique(values)
    }
    for what, values in parts.items()
  }


def _band(age: float, edges: Sequence[float]) -> str:
  for low, high in itertools.pairwise(edges):
    if low <= age < high:
      return f"{low:g}+" if math.isinf(high) else f"{low:g}-{high:g}"
  return "unknown"
