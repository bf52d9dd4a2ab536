"""ROUGE-L: the longest common subsequence of two texts (Lin 2004)."""

from __future__ import annotations

import numpy as np

from scan42_jax.metrics.words import Tokens

CAPTION_BETA = 1.2


def rouge_l(reference: Tokens, hypothesis: Tokens, *, beta: float) -> float:
  """The F-measure of one pair, recall weighted beta times; 0 if one is empty.

  (1 + beta^2) P R / (R + beta^2 P). Google's rouge-score has beta 1 on
  `rouge_words`, pycocoevalcap 1.2.
  """
  common = _longest_common(reference, hypothesis)
  if not common:
    return 0.0
  precision, recall = common / len(hypothesis), common / len(reference)
  weight = beta**2
  return (1 + weight) * precision * recall / (recall + weight * precision)


def _longest_common(one: Tokens, other: Tokens) -> int:
  """Length of the longest common subsequence, a row of the table at a time."""
  if not one or not other:
    return 0
  other_words = np.array(other)
  row = np.zeros(len(other) + 1, int)
  for word in one:
    met = np.where(other_words == word, row[:-1] + 1, 0)
    # A cell is the best of: a match here, the cell above, the cell before.
    row[1:] = np.maximum.accumulate(np.maximum(met, row[1:]))
  return int(row[-1])
