"""An encoder with its head, as files of their own, ready for new films."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from scan42_jax.eval.heads import FeatureSet, LinearHead, probabilities
from scan42_jax.eval.model_files import read_model, write_model
from scan42_jax.eval.settings import FeatureSettings
from scan42_jax.eval.token_cache import TokenReader
from scan42_jax.types import Float, UInt8


@dataclasses.dataclass(frozen=True)
class AdaptedModel:
  """An encoder and a linear head on its tokens.

  Attributes:
    reader: films to tokens.
    head: tokens to logits.
    labels: names of the logits.
    exclusive: the labels are classes.
    thresholds: probability at which a label is called, NaN if none was chosen.
  """

  reader: TokenReader
  head: LinearHead
  labels: Sequence[str]
  exclusive: bool
  thresholds: Float[np.ndarray, "C"]

  def predict(
    self, films: Sequence[UInt8[np.ndarray, "_ _"]]
  ) -> Float[np.ndarray, "N C"]:
    """Returns probabilities of grey films of any sizes."""
    size, rows = self.reader.batch_size, []
    for first in range(0, len(films), size):
      pixels = self.reader.prepare(films[first : first + size])
      tokens = self.reader.read(pixels)
      rows.append(self.head.scores(tokens, width=self.reader.width))
    return probabilities(np.concatenate(rows), exclusive=self.exclusive)


def save_model(
  folder: pathlib.Path, model: AdaptedModel, settings: FeatureSettings
) -> None:
  """Writes a model into a work folder.

  Args:
    folder: the work folder.
    model: what to write.
    settings: of the tokens.
  """
  head = {"kernel": model.head.kernel, "bias": model.head.bias}
  facts = {
    "tokens": {
      **dataclasses.asdict(settings),
      # Dropped already, so they are not dropped again.
      "drop_registers": False,
    },
    "head": dataclasses.asdict(model.head.features),
    "labels": list(model.labels),
    "exclusive": model.exclusive,
    "thresholds": [None if np.isnan(t) else t for t in model.thresholds],
  }
  write_model(folder, model.reader.encoder, {"head": head}, facts)


def load_model(folder: pathlib.Path) -> AdaptedModel:
  """Reads a model from the work folder of an evaluation.

  Raises:
    FileNotFoundError: the folder holds none.
    ValueError: it is of another task, or not what was written.
  """
  encoder, parts, facts = read_model(folder, task=None)
  return AdaptedModel(
    reader=TokenReader(encoder, FeatureSettings(**facts["tokens"])),
    head=LinearHead(FeatureSet(**facts["head"]), **parts["head"]),
    labels=tuple(facts["labels"]),
    exclusive=facts["exclusive"],
    thresholds=np.array(
      [np.nan if t is None else t for t in facts["thresholds"]]
    ),
  )
