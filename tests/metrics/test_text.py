"""Text metrics against reference packages, and what they must do by nature."""

import json

import numpy as np
import pytest

from scan42_jax.metrics import bleu, rouge, text, words
from scan42_jax.metrics.cider import Cider

PAIRS = [
  ("The heart is normal. No effusion.", "The heart is normal. No effusion."),
  ("There is a left effusion.", "There is a right effusion of 1.5 cm."),
  ("No pneumothorax. Lungs are clear.", "Lungs."),
  ("Cardiomegaly with mild edema.", "The lungs are clear."),
]
REFERENCES, HYPOTHESES = map(list, zip(*PAIRS, strict=True))


@pytest.fixture(scope="module")
def golden(golden_file):
  return json.loads(golden_file("text_metrics.json").read_text())


def _texts(golden, suffix=""):
  return [
    [pair[f"{kind}{suffix}"] for pair in golden["pairs"]]
    for kind in ("reference", "hypothesis")
  ]


def _ptb(golden):
  return [
    [pair[kind].split() for pair in golden["ptb_tokens"]]
    for kind in ("reference", "hypothesis")
  ]


def _close(found, expected):
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_golden_cleaning(golden):
  for kind in ("reference", "hypothesis"):
    for pair in golden["pairs"]:
      assert words.clean(pair[kind]) == pair[f"{kind}_clean"].split()


@pytest.mark.parametrize("tokens", ["clean_whitespace", "ptb"])
def test_golden_captioning_metrics(golden, tokens):
  expected = golden[f"pycocoevalcap_on_{tokens}_tokens"]
  if tokens == "ptb":
    references, hypotheses = _ptb(golden)
  else:
    references, hypotheses = (
      [t.split() for t in texts] for texts in _texts(golden, "_clean")
    )
  counts = bleu.count(references, hypotheses)
  corpus, pairs = map(bleu.caption_bleu, (counts.total(), counts))
  for n in range(4):
    _close(corpus[0, n], expected[f"BLEU_{n + 1}"])
    _close(pairs[:, n], expected[f"BLEU_{n + 1}_per_pair"])
  lengths = [
    rouge.rouge_l(r, h, beta=rouge.CAPTION_BETA)
    for r, h in zip(references, hypotheses, strict=True)
  ]
  _close(lengths, expected["ROUGE_L_per_pair"])
  _close(np.mean(lengths), expected["ROUGE_L"])
  scores = Cider(references, hypotheses).per_pair()
  np.testing.assert_allclose(
    scores, expected["CIDEr_per_pair"], rtol=1e-6, atol=1e-9
  )
  _close(scores.mean(), expected["CIDEr"])


@pytest.mark.parametrize("name", ["default_13a_exp", "lowercase_13a_exp"])
def test_golden_sacrebleu(golden, name):
  texts = _texts(golden)
  if name.startswith("lower"):
    texts = [[t.lower() for t in part] for part in texts]
  counts = bleu.count(*([words.mteval(t) for t in part] for part in texts))
  _check_mteval(counts.total(), golden["sacrebleu"][name], smoothing="exp")


def test_golden_sacrebleu_without_smoothing(golden):
  counts = bleu.count(
    *([t.split() for t in p] for p in _texts(golden, "_clean"))
  )
  expected = golden["sacrebleu"]["clean_tokens_no_smoothing"]
  _check_mteval(counts.total(), expected, smoothing="none")


def _check_mteval(total, expected, *, smoothing):
  _close(bleu.mteval_bleu(total, smoothing=smoothing)[0], expected["score"])
  _close(100 * total.correct[0] / total.guessed[0], expected["precisions"])
  assert total.hypothesis[0] == expected["sys_len"]
  assert total.reference[0] == expected["ref_len"]


def test_golden_rouge_score(golden):
  expected = golden["rouge_score_no_stemmer"]["rougeL"]
  found = [
    rouge.rouge_l(words.rouge_words(r), words.rouge_words(h), beta=1.0)
    for r, h in zip(*_texts(golden), strict=True)
  ]
  _close(found, expected["f_per_pair"])


def test_golden_scores_have_the_published_names(golden):
  scores = text.score_reports(*_texts(golden), [""] * 20, draws=0)
  expected = golden["pycocoevalcap_on_clean_whitespace_tokens"]
  assert tuple(scores) == text.METRICS
  _close(scores["bleu_4"].value, expected["BLEU_4"])
  _close(
    scores["bleu_4_per_report"].value, np.mean(expected["BLEU_4_per_pair"])
  )
  _close(
    scores["sacrebleu"].value, golden["sacrebleu"]["default_13a_exp"]["score"]
  )
  _close(scores["cider"].value, expected["CIDEr"])


def test_a_resample_is_scored_as_a_corpus_of_its_own():
  rows = np.array([3, 1, 1, 0])
  resampled = text.TextScores(
    [REFERENCES[i] for i in rows], [HYPOTHESES[i] for i in rows]
  )
  found = text.TextScores(REFERENCES, HYPOTHESES).corpus(rows)
  np.testing.assert_allclose(found, resampled.corpus(), rtol=1e-12)


def test_intervals_hold_the_value_and_follow_the_patients():
  apart, together = (
    text.score_reports(REFERENCES, HYPOTHESES, patients, draws=200, seed=3)[
      "bleu_1"
    ]
    for patients in (["a", "b", "c", "d"], ["a", "a", "a", "a"])
  )
  assert apart.low < apart.value < apart.high
  # One patient alone: every resample is the same.
  assert together.low == together.value == together.high


def test_empty_reports_score_nothing():
  scores = text.score_reports(["No effusion."], [""], [""], draws=0)
  for name, estimate in scores.items():
    assert estimate.value < 1e-6, name


def test_no_pairs_are_refused():
  with pytest.raises(ValueError, match="no pair"):
    text.score_reports([], [], [])


@pytest.mark.parametrize(
  "given, expected",
  [
    ("1. No edema. 2. Heart: big.", "no edema . heart big ."),
    ("Left-sided line, 1.5 cm..", "left-sided line 15 cm ."),
    ("", ""),
  ],
)
def test_r2gen_cleaning(given, expected):
  assert " ".join(words.r2gen(given)) == expected
