"""Cuts report texts into the tokens that a text metric counts.

Every published number depends on this choice, so each way has a name that is
printed beside the number.
"""

from __future__ import annotations

import re

Tokens = list[str]

_CLEAN = re.compile(r"\d+(?:\.\d+)+|[^\W_]+(?:[-'][^\W_]+)*|\.")
_R2GEN_NUMBERING = re.compile(r"(?:^|(?<=\. ))\d\. ")
# The published pattern holds the range ':' to '[' by accident; of lower-case
# text that takes ; < = > ? @ [ and leaves the hyphen alone.
_R2GEN_DROPPED = re.compile(r"[\"'/\\.,?;*!%^&_+()<=>@:\[\]{}]")

_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_SYMBOLS = re.compile(r"([{-~\[-` -&(-+:-@/])")
_POINT_AFTER_OTHER = re.compile(r"([^0-9])([.,])")
_POINT_BEFORE_OTHER = re.compile(r"([.,])([^0-9])")
_HYPHEN_AFTER_DIGIT = re.compile(r"([0-9])(-)")


def clean(text: str) -> Tokens:
  """Lower-case words, numbers and full stops; other punctuation is dropped.

  'Left-sided, 1.5 cm.' becomes left-sided 1.5 cm and a full stop.
  """
  return _CLEAN.findall(text.lower())


def r2gen(text: str) -> Tokens:
  """The cleaning of R2Gen (Chen et al. 2020, arXiv:2010.16056).

  Lower case, list numbers dropped, cut at '. ', all punctuation but hyphens
  dropped (also the point of 1.5), and a full stop after each sentence.
  """
  text = re.sub(r"\.{2,}", ".", text.replace("\n", " "))
  text = _R2GEN_NUMBERING.sub("", text).strip().lower()
  sentences = (_R2GEN_DROPPED.sub("", s).split() for s in text.split(". "))
  return [word for s in sentences if s for word in (*s, ".")]


def raw(text: str) -> Tokens:
  """The text as it is, cut at blanks."""
  return text.split()


def rouge_words(text: str) -> Tokens:
  """Lower-case runs of a..z and 0..9, as Google's rouge-score, no stemmer."""
  return re.findall(r"[a-z0-9]+", text.lower())


def mteval(text: str) -> Tokens:
  """The 13a rules of NIST's mteval script, sacrebleu's default; keeps case."""
  text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
  for entity, character in _ENTITIES:
    text = text.replace(entity, character)
  text = _SYMBOLS.sub(r" \1 ", f" {text} ")
  text = _POINT_AFTER_OTHER.sub(r"\1 \2 ", text)
  text = _POINT_BEFORE_OTHER.sub(r" \1 \2", text)
  return _HYPHEN_AFTER_DIGIT.sub(r"\1 \2 ", text).split()


CLEANINGS = {"clean": clean, "r2gen": r2gen, "raw": raw}
"""Ways to prepare both texts of a pair before captioning metrics."""
