"""Sentences that many texts share, and which text holds which."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence

import numpy as np

from scan42_jax.eval.reports.pairs import split_sentences
from scan42_jax.types import Float

_LEAST = 5  # Reports that hold a sentence; fewer teach nothing about it.


def frequent_sentences(texts: Iterable[str], *, most: int) -> tuple[str, ...]:
  """The sentences that the most texts hold, the most frequent first.

  Args:
    texts: of training reports.
    most: sentences that are kept.
  """
  counts = collections.Counter(
    sentence for text in texts for sentence in dict.fromkeys(_sentences(text))
  )
  return tuple(s for s, count in counts.most_common(most) if count >= _LEAST)


def held(
  texts: Sequence[str], sentences: Sequence[str]
) -> Float[np.ndarray, "N K"]:
  """1 where a text holds a sentence, else 0; case does not matter."""
  place = {sentence: i for i, sentence in enumerate(sentences)}
  found = np.zeros((len(texts), len(sentences)), np.float32)
  for row, text in enumerate(texts):
    known = [place[s] for s in _sentences(text) if s in place]
    found[row, known] = 1
  return found


def _sentences(text: str) -> list[str]:
  return [sentence.lower() for sentence in split_sentences(text) if sentence]
