"""BLEU of one reference per report, in the variants that papers print.

Papineni et al. 2002. Counts are kept per pair, so that a resample of a corpus
costs one sum.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from scan42_jax.metrics.words import Tokens
from scan42_jax.types import Float, Int

ORDERS = 4
_TINY, _SMALL = 1e-15, 1e-9


@dataclasses.dataclass(frozen=True)
class Counts:
  """What BLEU needs of each pair.

  Attributes:
    correct: n-grams of the hypothesis found in the reference, each at most as
      often as there.
    guessed: n-grams of the hypothesis.
    hypothesis: tokens.
    reference: tokens.
  """

  correct: Int[np.ndarray, "N 4"]
  guessed: Int[np.ndarray, "N 4"]
  hypothesis: Int[np.ndarray, "N"]
  reference: Int[np.ndarray, "N"]

  def total(self, rows: Int[np.ndarray, "M"] | slice = slice(None)) -> Counts:
    """Sums over pairs, some of them repeated: a corpus as one pair."""
    return Counts(
      *(
        getattr(self, field.name)[rows].sum(axis=0)[None]
        for field in dataclasses.fields(self)
      )
    )


def ngrams(tokens: Tokens, order: int) -> collections.Counter:
  """How often each n-gram of one order occurs."""
  return collections.Counter(
    zip(*(tokens[i:] for i in range(order)), strict=False)
  )


def count(references: Sequence[Tokens], hypotheses: Sequence[Tokens]) -> Counts:
  """Counts the n-grams of every pair."""
  correct = [
    [(ngrams(h, n) & ngrams(r, n)).total() for n in range(1, ORDERS + 1)]
    for r, h in zip(references, hypotheses, strict=True)
  ]
  lengths = np.array([len(h) for h in hypotheses], int)
  return Counts(
    correct=np.array(correct, int).reshape(-1, ORDERS),
    guessed=np.maximum(lengths[:, None] - np.arange(ORDERS), 0),
    hypothesis=lengths,
    reference=np.array([len(r) for r in references], int),
  )


def caption_bleu(counts: Counts) -> Float[np.ndarray, "N 4"]:
  """BLEU-1 to BLEU-4, 0..1, as pycocoevalcap computes them.

  The n-th value is the geometric mean of the first n precisions, each with
  1e-15 and 1e-9 added, times the brevity penalty.
  """
  precision = (counts.correct + _TINY) / (counts.guessed + _SMALL)
  powers = 1 / np.arange(1, ORDERS + 1)
  ratio = (counts.hypothesis + _TINY) / (counts.reference + _SMALL)
  brevity = np.exp(np.minimum(0, 1 - 1 / ratio))
  return np.cumprod(precision, axis=1) ** powers * brevity[:, None]


def mteval_bleu(
  counts: Counts, *, smoothing: Literal["exp", "none"] = "exp"
) -> Float[np.ndarray, "N"]:
  """BLEU-4, 0..100, as sacrebleu computes it of a corpus.

  Args:
    counts: of a corpus, or of single pairs.
    smoothing: what replaces a precision of zero: 'exp' halves it for each such
      order (Chen and Cherry 2014, method 3), 'none' makes the score 0.
  """
  zero = counts.correct == 0
  halvings = np.cumsum(zero, axis=1) if smoothing == "exp" else np.inf
  correct = np.where(zero, 0.5**halvings, counts.correct)
  # Orders without any n-gram make the score 0; 1 keeps the logarithm defined.
  guessed = np.maximum(counts.guessed, 1)
  ratio = counts.reference / np.maximum(counts.hypothesis, 1)
  with np.errstate(divide="ignore"):
    logs = np.log(correct / guessed).mean(axis=1)
  score = 100 * np.exp(logs + np.minimum(0, 1 - ratio))
  return np.where((counts.guessed == 0).any(axis=1), 0.0, score)
