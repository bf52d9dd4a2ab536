"""Reads the findings that a phantom report asserts, by its own sentences.

Clinical labellers know real reports; the phantom's templates are few enough to
be read without error, so that a generated text can be held against what was
drawn into its film.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from scan42_jax.types import Bool, Float

_DENIED = re.compile(r"\b(?:no|not|normal|clear)\b")
_WORDS = {
  "Cardiomegaly": r"cardiomegaly|heart is enlarged",
  "Consolidation": r"consolidation",
  "Interstitial Pattern": r"interstitial|reticular",
  "Nodule": r"nodule",
  "Pleural Effusion": r"effusion",
  "Pneumothorax": r"pneumothorax",
  "Support Devices": r"pacemaker|catheter|chest tube",
}
LABELS = tuple(_WORDS)


def find_labels(text: str) -> Bool[np.ndarray, "C"]:
  """Which of LABELS some sentence asserts."""
  found = np.zeros(len(LABELS), bool)
  for sentence in re.split(r"(?<=\.)\s+", text.lower()):
    if not _DENIED.search(sentence):
      found |= [bool(re.search(w, sentence)) for w in _WORDS.values()]
  return found


def label_f1(
  truth: Bool[np.ndarray, "N C"], found: Bool[np.ndarray, "N C"]
) -> dict[str, Float[np.ndarray, ""]]:
  """F1 of findings: over all of them (micro), and the mean of labels (macro).

  A label that neither occurs nor is asserted counts 0.
  """
  hits = (truth & found).sum(axis=0)
  both = truth.sum(axis=0) + found.sum(axis=0)
  micro = 2 * hits.sum() / np.maximum(both.sum(), 1)
  macro = (2 * hits / np.maximum(both, 1)).mean()
  return {"phantom_f1_micro": micro, "phantom_f1_macro": macro}


def label_texts(texts: Sequence[str]) -> Bool[np.ndarray, "N C"]:
  """`find_labels` of every text."""
  return np.stack([find_labels(text) for text in texts])
