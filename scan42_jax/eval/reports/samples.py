"""Texts about a few films while a decoder learns, for a person to read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from scan42_jax.eval.reports.generation import Generator
from scan42_jax.eval.reports.pairs import Pair


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
  """Writes about the same films with whatever parameters it is given.

  Attributes:
    generator: compiled for these films; its own parameters are not used.
    pairs: the films and their texts.
    seen: what is shown of them.
  """

  generator: Generator
  pairs: Sequence[Pair]
  seen: np.ndarray

  def __call__(self, params: Any) -> str:
    """Returns a table in Markdown: film, reference, generated."""
    generator = self.generator.with_params(params)
    rows = [
      f"|{_cell(pair.image_id)}|{_cell(pair.text)}|{_cell(text)}|"
      for pair, text in zip(
        self.pairs, generator.write(self.seen, self.pairs), strict=True
      )
    ]
    return "\n".join(["|film|reference|generated|", "|-|-|-|", *rows])


def _cell(text: str) -> str:
  return text.replace("|", "\\|").replace("<", "&lt;")
