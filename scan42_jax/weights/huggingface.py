"""DINOv2 encoders in Hugging Face folders, as transformers saves them.

A folder holds config.json, which states the shape, and safetensors files. Names
are translated to DINOv2's and back; dinov2.py does the rest.
"""

from __future__ import annotations

import os
import pathlib

import numpy as np

from scan42_jax.models.vit import ViTConfig
from scan42_jax.weights.dinov2 import sort_dinov2, to_dinov2
from scan42_jax.weights.expected import check_encoder
from scan42_jax.weights.huggingface_config import read_config, read_json
from scan42_jax.weights.names import NameTable, unchanged
from scan42_jax.weights.safetensors_file import read_safetensors

_LAYER = "encoder.layer.{block}."
_NAMES = (
  ("embeddings.{token}", "{token}"),
  ("embeddings.position_embeddings", "pos_embed"),
  ("embeddings.patch_embeddings.projection.{kind}", "patch_embed.proj.{kind}"),
  ("layernorm.{kind}", "norm.{kind}"),
  (_LAYER + "norm{n}.{kind}", "blocks.{block}.norm{n}.{kind}"),
  (_LAYER + "layer_scale{n}.lambda1", "blocks.{block}.ls{n}.gamma"),
  (
    _LAYER + "attention.attention.{part}.{kind}",
    "blocks.{block}.attn.{part}.{kind}",
  ),
  (
    _LAYER + "attention.output.dense.{kind}",
    "blocks.{block}.attn.proj.{kind}",
  ),
  (_LAYER + "mlp.fc{n}.{kind}", "blocks.{block}.mlp.fc{n}.{kind}"),
  (_LAYER + "mlp.weights_in.{kind}", "blocks.{block}.mlp.w12.{kind}"),
  (_LAYER + "mlp.weights_out.{kind}", "blocks.{block}.mlp.w3.{kind}"),
)
_TABLE = NameTable(
  [(theirs, dinov2, None) for theirs, dinov2 in _NAMES],
  {
    "block": unchanged(r"\d+"),
    "n": unchanged(r"\d"),
    "kind": unchanged("weight|bias"),
    "part": unchanged("query|key|value"),
    "token": unchanged("cls_token|mask_token|register_tokens"),
  },
)
_PARTS = ("query", "key", "value")  # Rows of DINOv2's qkv, in this order.


def read_huggingface(
  folder: str | os.PathLike,
) -> tuple[ViTConfig, dict[str, np.ndarray]]:
  """Reads an encoder of model type `dinov2` or `dinov2_with_registers`.

  Args:
    folder: with config.json and model.safetensors, or an index of several.

  Returns:
    The encoder's shape, with the position resize of transformers unless the
    folder is our own export, and its arrays by our path.

  Raises:
    FileNotFoundError: no config.json, or no weights.
    ValueError: unreadable, another model type, or arrays that do not make the
      encoder of config.json; lists them.
  """
  folder = pathlib.Path(folder)
  config = read_config(folder)
  state = {}
  for file in _weight_files(folder):
    state.update(read_safetensors(file))
  state, unknown = _dinov2_names(state)
  encoder, faults = sort_dinov2(state)
  try:
    check_encoder(config, encoder, unknown + faults)
  except ValueError as error:
    raise ValueError(f"{folder}: {error}") from error
  return config, encoder


def to_huggingface(encoder: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns an encoder's arrays under the names that transformers loads.

  Args:
    encoder: arrays by our path.

  Raises:
    KeyError: a path is none of an encoder's.
  """
  state = {}
  for name, value in to_dinov2(encoder).items():
    for part_name, part in _parts(name, value).items():
      found = _TABLE.theirs(part_name)
      if found is None:
        raise KeyError(f"{name!r} is no parameter of an encoder")
      state[found[0]] = part
  return state


def _parts(name: str, value: np.ndarray) -> dict[str, np.ndarray]:
  """Splits a block's qkv in three; the rest stays whole."""
  if ".attn.qkv." not in name:
    return {name: value}
  names = (name.replace("qkv", part) for part in _PARTS)
  return dict(zip(names, np.split(value, len(_PARTS)), strict=True))


def _weight_files(folder: pathlib.Path) -> list[pathlib.Path]:
  single = folder / "model.safetensors"
  index = folder / "model.safetensors.index.json"
  if single.is_file():
    return [single]
  if not index.is_file():
    raise FileNotFoundError(
      f"{folder}: no model.safetensors; save the model with"
      " save_pretrained(..., safe_serialization=True)"
    )
  names = read_json(index).get("weight_map")
  if not isinstance(names, dict) or not names:
    raise ValueError(f"{index}: no weight_map")
  files = [folder / str(name) for name in sorted(set(names.values()))]
  for file in files:
    if file.parent != folder or not file.is_file():
      raise FileNotFoundError(f"{index}: names {file}, which is not there")
  return files


def _dinov2_names(
  state: dict[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], list[str]]:
  """Renames arrays; query, key and value of a block become one.

  Empties what it is given, so that no array is held twice.

  Returns:
    The renamed arrays, and what is wrong with the others.
  """
  renamed, faults = {}, []
  for name in list(state):
    found = _TABLE.ours(name)
    if found is None:
      faults.append(
        f"{name!r} is no parameter of a dinov2 or dinov2_with_registers encoder"
      )
    else:
      renamed[found[0]] = state.pop(name)
  for name in [name for name in renamed if ".attn.query." in name]:
    parts = [renamed.pop(name.replace("query", part), None) for part in _PARTS]
    try:
      renamed[name.replace("query", "qkv")] = np.concatenate(parts)
    except ValueError:
      faults.append(
        f"{name!r}, its key and its value have shapes"
        f" {', '.join(str(getattr(x, 'shape', 'absent')) for x in parts)}"
      )
  return renamed, faults
