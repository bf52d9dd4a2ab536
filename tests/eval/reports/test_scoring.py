"""Scores of several sets of texts; shuffling; the phantom's own labels."""

import numpy as np
import pytest

from scan42_jax.datasets import phantom_files, phantom_film
from scan42_jax.datasets.labels import POSITIVE
from scan42_jax.eval.reports import phantom_labels, scoring
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.metrics.text import score_reports


@pytest.fixture(scope="module")
def cases():
  return [phantom_film.describe(phantom_files.SEED, n) for n in range(300)]


def _pairs(cases):
  return [
    Pair(
      film=n,
      image_id=f"i{n}",
      patient_id=case.patient_id,
      text=case.report_findings,
      labels=tuple(case.labels),
    )
    for n, case in enumerate(cases)
  ]


def test_every_phantom_report_is_read_without_error(cases):
  assert phantom_labels.LABELS == phantom_film.LABELS
  truth = np.array([case.labels for case in cases]) == POSITIVE
  for texts in (
    [case.report_findings for case in cases],
    [case.impression for case in cases],
  ):
    np.testing.assert_array_equal(phantom_labels.label_texts(texts), truth)


def test_f1_of_labels_by_hand():
  truth = np.array([[1, 0], [1, 0], [0, 0]], bool)
  found = np.array([[1, 1], [0, 0], [0, 0]], bool)
  scores = phantom_labels.label_f1(truth, found)
  assert scores["phantom_f1_micro"] == pytest.approx(2 * 1 / (2 + 2))
  assert scores["phantom_f1_macro"] == pytest.approx((2 / 3 + 0) / 2)


def test_perfect_texts_beat_shuffled_ones_with_paired_intervals(cases):
  pairs = _pairs(cases)
  references = [pair.text for pair in pairs]
  other = scoring.shuffled(pairs, seed=0)
  texts = {
    scoring.FILMS: references,
    scoring.SHUFFLED: [references[i] for i in other],
  }
  scores = scoring.score(
    pairs, texts, cleaning="clean", draws=20, seed=0, phantom=True
  )
  films = scores.estimates[scoring.FILMS]
  blind = scores.estimates[scoring.SHUFFLED]
  assert films["phantom_f1_micro"].value == 1
  assert films["bleu_4"].value == pytest.approx(1, abs=1e-6)
  assert blind["phantom_f1_micro"].value < 0.4
  every = scores.estimates[scoring.ALL_POSITIVE]["phantom_f1_micro"].value
  assert 0.3 < every < 0.6
  gain = scores.gains["bleu_4"]
  assert 0 < gain.low <= gain.value <= gain.high
  assert gain.value == pytest.approx(
    films["bleu_4"].value - blind["bleu_4"].value
  )
  # The same numbers as a set of texts gets alone.
  alone = score_reports(
    references,
    texts[scoring.SHUFFLED],
    [pair.patient_id for pair in pairs],
    draws=20,
  )
  assert alone["cider"] == blind["cider"]


def test_shuffling_gives_every_film_once_to_another_patient(cases):
  pairs = _pairs(cases)
  other = scoring.shuffled(pairs, seed=3)
  assert sorted(other) == list(range(len(pairs)))
  for row, place in enumerate(other):
    assert pairs[row].patient_id != pairs[place].patient_id


def test_the_most_frequent_report_of_training():
  pairs = [
    Pair(film=0, image_id="", patient_id="", text=text) for text in "abcb"
  ]
  assert scoring.most_frequent(pairs) == "b"
