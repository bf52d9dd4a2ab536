"""A finished model in a work folder: an encoder, and what reads its tokens.

model.npz holds float32 arrays by path, model.json all else; neither can hold
code. The pair is written once the evaluation is done.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax import paths
from scan42_jax.data.finished import file_sha256
from scan42_jax.encoder import Encoder
from scan42_jax.models.vit import ViTConfig
from scan42_jax.sharding import make_mesh, replicated
from scan42_jax.types import Params
from scan42_jax.weights.preprocessing import Preprocessing
from scan42_jax.whole_files import write_text

_ARRAYS, _FACTS = "model.npz", "model.json"


def write_model(
  folder: pathlib.Path,
  encoder: Encoder,
  parts: Params,
  facts: Mapping[str, Any],
) -> None:
  """Writes a model into a work folder.

  Args:
    folder: the work folder.
    encoder: with films prepared as the model wants them.
    parts: the other parameters, none of them named 'encoder'.
    facts: JSON values that `read_model` gives back.
  """
  arrays = {
    name: np.asarray(leaf, np.float32)
    for name, leaf in paths.flatten(
      {"encoder": encoder.params, **parts}
    ).items()
  }
  beside = folder / f"{_ARRAYS}.tmp"
  with beside.open("wb") as stream:
    np.savez(stream, **arrays)
  beside.replace(folder / _ARRAYS)
  whole = {
    "sha256": file_sha256(folder / _ARRAYS),
    "encoder": dataclasses.asdict(encoder.config),
    "preprocessing": dataclasses.asdict(encoder.preprocessing),
    "dtype": str(np.dtype(encoder.dtype)),
    "source": encoder.source,
    **facts,
  }
  write_text(folder / _FACTS, json.dumps(whole, indent=1) + "\n")


def stored_task(folder: pathlib.Path) -> str | None:
  """The `task` of a stored model's facts; None without it, or without one."""
  try:
    return json.loads((folder / _FACTS).read_text()).get("task")
  except (OSError, ValueError):
    return None


def read_model(
  folder: pathlib.Path, *, task: str | None
) -> tuple[Encoder, Params, dict[str, Any]]:
  """Reads what `write_model` wrote.

  Args:
    folder: the work folder.
    task: that the facts have to name.

  Returns:
    The encoder on all local devices, the other parameters on the host, and the
    facts.

  Raises:
    FileNotFoundError: the folder holds no model.
    ValueError: it is of another task, or its file is not what was written.
  """
  if not (folder / _FACTS).is_file() or not (folder / _ARRAYS).is_file():
    raise FileNotFoundError(
      f"{folder} holds no {_FACTS} with {_ARRAYS}: give the --workdir of a"
      " finished evaluation; one by k-NN leaves none"
    )
  facts = json.loads((folder / _FACTS).read_text())
  if facts.get("task") != task:
    raise ValueError(
      f"{folder} holds a model of {_name(facts.get('task'))}, not of"
      f" {_name(task)}"
    )
  if file_sha256(folder / _ARRAYS) != facts["sha256"]:
    raise ValueError(f"{folder / _ARRAYS} is not what was written; run again")
  with np.load(folder / _ARRAYS, allow_pickle=False) as file:
    tree = paths.unflatten({name: file[name] for name in file.files})
  return _encoder(facts, tree.pop("encoder")), tree, facts


def _name(task: str | None) -> str:
  return (task or "classification").replace("_", " ")


def _encoder(facts: Mapping[str, Any], params: Params) -> Encoder:
  mesh = make_mesh((-1, 1, 1), jax.local_devices())
  how = {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in facts["preprocessing"].items()
  }
  return Encoder(
    config=ViTConfig(**facts["encoder"]),
    params=jax.device_put(params, replicated(mesh)),
    preprocessing=Preprocessing(**how),
    source=facts["source"],
    preprocessing_origin="stored with the model",
    dtype=jnp.dtype(facts["dtype"]),
    mesh=mesh,
  )
