"""An encoder with its head, as a file of its own, ready for new films.

model.npz holds float32 arrays by path, model.json all else; neither can hold
code. The pair is written once the evaluation is done.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax import paths
from scan42_jax.encoder import Encoder
from scan42_jax.eval.heads import FeatureSet, LinearHead, probabilities
from scan42_jax.eval.settings import FeatureSettings
from scan42_jax.eval.token_cache import TokenReader
from scan42_jax.models.vit import ViTConfig
from scan42_jax.sharding import make_mesh, replicated
from scan42_jax.types import Float, Params, UInt8
from scan42_jax.weights.preprocessing import Preprocessing

_ARRAYS, _FACTS = "model.npz", "model.json"


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
  encoder = model.reader.encoder
  arrays = {
    f"encoder/{name}": np.asarray(leaf, np.float32)
    for name, leaf in paths.flatten(encoder.params).items()
  }
  arrays["head/kernel"] = np.asarray(model.head.kernel, np.float32)
  arrays["head/bias"] = np.asarray(model.head.bias, np.float32)
  beside = folder / f"{_ARRAYS}.tmp"
  with beside.open("wb") as stream:
    np.savez(stream, **arrays)
  beside.replace(folder / _ARRAYS)
  facts = {
    "sha256": _sha256(folder / _ARRAYS),
    "encoder": dataclasses.asdict(encoder.config),
    "preprocessing": dataclasses.asdict(encoder.preprocessing),
    "dtype": str(np.dtype(encoder.dtype)),
    "source": encoder.source,
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
  beside = folder / f"{_FACTS}.tmp"
  beside.write_text(json.dumps(facts, indent=1) + "\n")
  beside.replace(folder / _FACTS)


def load_model(folder: pathlib.Path) -> AdaptedModel:
  """Reads a model from the work folder of an evaluation.

  Raises:
    FileNotFoundError: the folder holds none.
    ValueError: its file is not what was written.
  """
  if not (folder / _FACTS).is_file() or not (folder / _ARRAYS).is_file():
    raise FileNotFoundError(
      f"{folder} holds no {_FACTS} with {_ARRAYS}: give the --workdir of a"
      " finished classification that was not by k-NN"
    )
  facts = json.loads((folder / _FACTS).read_text())
  if _sha256(folder / _ARRAYS) != facts["sha256"]:
    raise ValueError(f"{folder / _ARRAYS} is not what was written; run again")
  with np.load(folder / _ARRAYS, allow_pickle=False) as file:
    tree = paths.unflatten({name: file[name] for name in file.files})
  return AdaptedModel(
    reader=TokenReader(
      read_encoder(facts, tree["encoder"]), FeatureSettings(**facts["tokens"])
    ),
    head=LinearHead(
      FeatureSet(**facts["head"]), tree["head"]["kernel"], tree["head"]["bias"]
    ),
    labels=tuple(facts["labels"]),
    exclusive=facts["exclusive"],
    thresholds=np.array(
      [np.nan if t is None else t for t in facts["thresholds"]]
    ),
  )


def read_encoder(facts: dict[str, Any], params: Params) -> Encoder:
  """Puts an encoder on all local devices.

  Args:
    facts: of model.json.
    params: float32 arrays.
  """
  mesh = make_mesh((-1, 1, 1), jax.local_devices())
  preprocessing = facts["preprocessing"]
  for name in ("mean", "std"):
    preprocessing[name] = tuple(preprocessing[name])
  return Encoder(
    config=ViTConfig(**facts["encoder"]),
    params=jax.device_put(params, replicated(mesh)),
    preprocessing=Preprocessing(**preprocessing),
    source=facts["source"],
    preprocessing_origin="stored with the model",
    dtype=jnp.dtype(facts["dtype"]),
    mesh=mesh,
  )


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()
