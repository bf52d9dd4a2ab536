"""CIDEr-D of one reference per report (Vedantam et al. 2015, arXiv:1411.5726).

Document frequencies come from the references of the corpus, so a resample of
the corpus changes them; the n-grams are counted once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scan42_jax.metrics.bleu import ORDERS, ngrams
from scan42_jax.metrics.words import Tokens
from scan42_jax.types import Float, Int

SIGMA = 6.0


class Cider:
  """A corpus whose n-grams were counted.

  Args:
    references: tokens of each report.
    hypotheses: tokens of each generated report.
  """

  def __init__(
    self, references: Sequence[Tokens], hypotheses: Sequence[Tokens]
  ):
    self._number = len(references)
    self._orders = [
      _Ngrams(references, hypotheses, order) for order in range(1, ORDERS + 1)
    ]
    # The published code takes the number of bigrams for the length.
    difference = [
      max(len(h) - 1, 0) - max(len(r) - 1, 0)
      for r, h in zip(references, hypotheses, strict=True)
    ]
    self._penalty = np.exp(-(np.array(difference) ** 2) / (2 * SIGMA**2))

  def per_pair(
    self, rows: Int[np.ndarray, "M"] | None = None
  ) -> Float[np.ndarray, "M"]:
    """CIDEr of each row, 0..10, with the frequencies of these rows.

    Args:
      rows: pairs, some of them repeated; all by default.
    """
    rows = np.arange(self._number) if rows is None else rows
    times = np.bincount(rows, minlength=self._number)
    similar = [order.similarity(times) for order in self._orders]
    return (10 * self._penalty * np.mean(similar, axis=0))[rows]


class _Ngrams:
  """N-grams of one order, one entry for each that a pair holds."""

  def __init__(self, references, hypotheses, order):
    known: dict[tuple, int] = {}
    entries = []
    for pair, (r, h) in enumerate(zip(references, hypotheses, strict=True)):
      counted = ngrams(r, order), ngrams(h, order)
      for gram in counted[0] | counted[1]:
        number = known.setdefault(gram, len(known))
        entries.append((pair, number, counted[0][gram], counted[1][gram]))
    table = np.array(entries, int).reshape(-1, 4)
    self._pair, self._gram, self._reference, self._hypothesis = table.T
    self._pairs, self._grams = len(references), len(known)

  def similarity(self, times: Int[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """Cosine of TF-IDF vectors, hypothesis clipped at the reference."""
    # A document is a reference that holds the n-gram, as often as it is drawn.
    documents = np.bincount(
      self._gram,
      weights=times[self._pair] * (self._reference > 0),
      minlength=self._grams,
    )
    rarity = np.log(times.sum()) - np.log(np.maximum(documents, 1))
    weight = rarity[self._gram]
    reference, hypothesis = self._reference * weight, self._hypothesis * weight
    dot = self._sum(np.minimum(hypothesis, reference) * reference)
    norm = np.sqrt(self._sum(reference**2) * self._sum(hypothesis**2))
    return np.divide(dot, norm, out=dot, where=norm != 0)

  def _sum(self, values):
    return np.bincount(
      self._pair, weights=values.astype(float), minlength=self._pairs
    ).astype(float)
