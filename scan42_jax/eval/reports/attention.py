"""What the words of a generated text looked at in its film."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from scan42_jax.types import Float

_LETTERS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Word:
  """A word, with the blank or mark before and after it.

  Attributes:
    text: as it stands in the report.
    look: attention on each patch, as far as it exceeds what the whole text
      looked at on average; zeros if it nowhere does.
  """

  text: str
  look: Float[np.ndarray, "P"]


def words(pieces: Sequence[str], looks: Float[np.ndarray, "T P"]) -> list[Word]:
  """Joins tokens to words.

  Args:
    pieces: text of each token.
    looks: attention while each token was written; rows sum to 1.
  """
  if not len(pieces):
    return []
  usual = looks.mean(axis=0)
  return [
    Word(
      "".join(pieces[start:end]),
      np.maximum(looks[start:end].mean(axis=0) - usual, 0),
    )
    for start, end in _spans(pieces)
  ]


def sharpest(found: Sequence[Word]) -> int | None:
  """Place of the word whose attention is most concentrated.

  Of words of four letters or more, the one of least entropy; None if none of
  them looks anywhere.
  """
  best = None
  for place, word in enumerate(found):
    if sum(c.isalpha() for c in word.text) < _LETTERS or not word.look.any():
      continue
    share = word.look / word.look.sum()
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum()
    if best is None or entropy < best[0]:
      best = entropy, place
  return None if best is None else best[1]


def _spans(pieces: Sequence[str]) -> Iterator[tuple[int, int]]:
  """Tokens of each word: one that begins with a blank or mark begins a word."""
  start = 0
  for end in range(1, len(pieces) + 1):
    if end == len(pieces) or pieces[end][:1] in (" ", "\n", ".", ","):
      yield start, end
      start = end
