"""Scores the texts of an encoder and those that never saw the film.

The image-blind rows say how far style and frequent sentences alone get.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from scan42_jax.datasets.labels import POSITIVE
from scan42_jax.eval.reports import phantom_labels
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.metrics import bootstrap
from scan42_jax.metrics.bootstrap import Estimate
from scan42_jax.metrics.text import METRICS, TextScores
from scan42_jax.types import Bool, Int

FILMS, SHUFFLED, BLANK, FREQUENT = (
  "films",
  "shuffled films",
  "blank films",
  "most frequent report",
)
"""What the texts were made from: the films, or not."""

ALL_POSITIVE = "all findings"


@dataclasses.dataclass(frozen=True)
class Scores:
  """Metrics of several sets of texts on the same resamples.

  Attributes:
    estimates: what the texts were made from -> metric -> estimate.
    gains: metric -> films less shuffled films, paired by resample.
  """

  estimates: Mapping[str, Mapping[str, Estimate]]
  gains: Mapping[str, Estimate]


def score(
  pairs: Sequence[Pair],
  texts: Mapping[str, Sequence[str]],
  *,
  cleaning: str,
  draws: int,
  seed: int,
  phantom: bool,
) -> Scores:
  """Scores all sets of texts, corpus metrics anew on each resample.

  Args:
    pairs: what was to be written, with patients and labels.
    texts: what the texts were made from -> texts in the order of the pairs.
    cleaning: name in metrics/words.py.
    draws: resamples of patients.
    seed: of the resamples.
    phantom: also hold the texts against the findings drawn into the films.
  """
  references = [pair.text for pair in pairs]
  scorers = {
    name: TextScores(references, some, cleaning=cleaning)
    for name, some in texts.items()
  }
  labels = _PhantomLabels(pairs, texts) if phantom else None
  names = METRICS + (_PhantomLabels.NAMES if labels else ())

  def statistic(rows: Int[np.ndarray, "M"]) -> np.ndarray:
    values = [
      [
        *scorer.corpus(rows),
        *(labels.f1(name, rows) if labels else ()),
      ]
      for name, scorer in scorers.items()
    ]
    return np.array(values)

  values = statistic(np.arange(len(pairs)))
  samples = bootstrap.patient_bootstrap(
    statistic, [pair.patient_id for pair in pairs], draws=draws, seed=seed
  )
  order = list(texts)
  estimates = {
    made_from: {
      name: bootstrap.estimate(values[i, k], samples[:, i, k])
      for k, name in enumerate(names)
    }
    for i, made_from in enumerate(order)
  }
  if labels:
    estimates[ALL_POSITIVE] = {
      name: Estimate(float(value))
      for name, value in zip(
        _PhantomLabels.NAMES, labels.all_positive(), strict=True
      )
    }
  one, other = order.index(FILMS), order.index(SHUFFLED)
  gains = {
    name: bootstrap.estimate(
      values[one, k] - values[other, k],
      samples[:, one, k] - samples[:, other, k],
    )
    for k, name in enumerate(names)
  }
  return Scores(estimates, gains)


class _PhantomLabels:
  """Findings drawn into films against findings that texts assert."""

  NAMES = ("phantom_f1_micro", "phantom_f1_macro")

  def __init__(self, pairs: Sequence[Pair], texts: Mapping[str, Sequence[str]]):
    self._truth: Bool[np.ndarray, "N C"] = (
      np.array([pair.labels for pair in pairs]) == POSITIVE
    )
    self._found = {
      name: phantom_labels.label_texts(some) for name, some in texts.items()
    }

  def f1(self, name: str, rows: Int[np.ndarray, "M"]) -> list[float]:
    found = phantom_labels.label_f1(self._truth[rows], self._found[name][rows])
    return [float(found[metric]) for metric in self.NAMES]

  def all_positive(self) -> list[float]:
    found = phantom_labels.label_f1(self._truth, np.ones_like(self._truth))
    return [float(found[metric]) for metric in self.NAMES]


def most_frequent(pairs: Sequence[Pair]) -> str:
  """The training report that occurs most often; the first of equals."""
  return collections.Counter(p.text for p in pairs).most_common(1)[0][0]


def shuffled(pairs: Sequence[Pair], *, seed: int) -> Int[np.ndarray, "N"]:
  """For each pair another one, of another patient wherever possible."""
  order = np.random.default_rng(seed).permutation(len(pairs))
  other = np.empty(len(pairs), int)
  other[order] = np.roll(order, 1)
  patients = [pair.patient_id or pair.image_id for pair in pairs]
  for row in range(len(pairs)):
    if patients[row] != patients[other[row]]:
      continue
    # Swap with a row for which both sides then differ.
    for place in order:
      if (
        patients[row] != patients[other[place]]
        and patients[place] != patients[other[row]]
      ):
        other[[row, place]] = other[[place, row]]
        break
  return other
