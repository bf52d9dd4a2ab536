"""Reads DINOv2 encoders from Hugging Face folders, as transformers saves them.

A folder holds config.json, which states the shape, and safetensors files. Names
are translated to DINOv2's; dinov2.py does the rest.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from scan42_jax.models.vit import ViTConfig
from scan42_jax.weights.dinov2 import from_dinov2

# transformers resizes position tables to the very size, but antialiases only
# where the model type has registers.
_ANTIALIAS = {"dinov2": False, "dinov2_with_registers": True}

# What our encoder is built for; absent keys mean these values, too.
_FIXED = {
  "hidden_act": "gelu",
  "layer_norm_eps": 1e-6,
  "num_channels": 3,
  "qkv_bias": True,
  "use_mask_token": True,
}

_LAYER = r"encoder\.layer\.(\d+)\."
_NAMES = (
  (r"embeddings\.(cls_token|mask_token|register_tokens)", r"\1"),
  (r"embeddings\.position_embeddings", "pos_embed"),
  (r"embeddings\.patch_embeddings\.projection\.(\w+)", r"patch_embed.proj.\1"),
  (r"layernorm\.(\w+)", r"norm.\1"),
  (_LAYER + r"(norm\d\.\w+)", r"blocks.\1.\2"),
  (_LAYER + r"layer_scale(\d)\.lambda1", r"blocks.\1.ls\2.gamma"),
  (
    _LAYER + r"attention\.attention\.(query|key|value)\.(\w+)",
    r"blocks.\1.attn.\2.\3",
  ),
  (_LAYER + r"attention\.output\.dense\.(\w+)", r"blocks.\1.attn.proj.\2"),
  (_LAYER + r"(mlp\.fc\d\.\w+)", r"blocks.\1.\2"),
  (_LAYER + r"mlp\.weights_in\.(\w+)", r"blocks.\1.mlp.w12.\2"),
  (_LAYER + r"mlp\.weights_out\.(\w+)", r"blocks.\1.mlp.w3.\2"),
)


def read_huggingface(
  folder: str | os.PathLike,
) -> tuple[ViTConfig, dict[str, np.ndarray]]:
  """Reads an encoder of model type `dinov2` or `dinov2_with_registers`.

  Args:
    folder: with config.json and model.safetensors, or an index of several.

  Returns:
    The encoder's shape, with the position resize of transformers, and its
    arrays by our path.

  Raises:
    FileNotFoundError: no config.json, or no weights.
    ValueError: unreadable, another model type, or another layout.
  """
  folder = pathlib.Path(folder)
  config = _read_config(folder / "config.json")
  state = {}
  for file in _weight_files(folder):
    state.update(_read_safetensors(file))
  try:
    return config, from_dinov2(_dinov2_names(state))
  except ValueError as error:
    raise ValueError(f"{folder}: {error}") from error


def _read_config(path: pathlib.Path) -> ViTConfig:
  if not path.is_file():
    raise FileNotFoundError(
      f"{path.parent}: no config.json; a Hugging Face folder holds config.json"
      " and model.safetensors"
    )
  config = _read_json(path)
  model_type = config.get("model_type")
  if model_type not in _ANTIALIAS:
    raise ValueError(
      f"{path}: model_type is {model_type!r}; accepted: {', '.join(_ANTIALIAS)}"
    )
  for key, value in _FIXED.items():
    if config.get(key, value) != value:
      raise ValueError(
        f"{path}: {key} is {config[key]!r}; only {value!r} is supported"
      )
  registers = model_type == "dinov2_with_registers"
  try:
    return _vit_config(config, model_type, registers=registers)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def _vit_config(
  config: dict[str, Any], model_type: str, *, registers: bool
) -> ViTConfig:
  width = _positive(config, "hidden_size")
  num_heads = _positive(config, "num_attention_heads")
  if width % num_heads:
    raise ValueError(
      f"hidden_size {width} does not divide by {num_heads} heads"
    )
  mlp_ratio = config.get("mlp_ratio", 4)
  if not isinstance(mlp_ratio, int | float) or mlp_ratio <= 0:
    raise ValueError(f"mlp_ratio must be a positive number, not {mlp_ratio!r}")
  return ViTConfig(
    width=width,
    depth=_positive(config, "num_hidden_layers"),
    num_heads=num_heads,
    patch_size=_positive(config, "patch_size"),
    num_registers=_positive(config, "num_register_tokens") if registers else 0,
    image_size=_positive(config, "image_size"),
    mlp_ratio=float(mlp_ratio),
    swiglu=bool(config.get("use_swiglu_ffn", False)),
    position_offset=0.0,
    position_antialias=_ANTIALIAS[model_type],
  )


def _positive(config: dict[str, Any], key: str) -> int:
  value = config.get(key)
  if type(value) is not int or value < 1:
    raise ValueError(f"{key} must be a positive integer, not {value!r}")
  return value


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"{path}: not JSON ({error})") from error
  if not isinstance(content, dict):
    raise ValueError(f"{path}: not a JSON object")
  return content


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
  names = _read_json(index).get("weight_map")
  if not isinstance(names, dict) or not names:
    raise ValueError(f"{index}: no weight_map")
  files = [folder / str(name) for name in sorted(set(names.values()))]
  for file in files:
    if file.parent != folder or not file.is_file():
      raise FileNotFoundError(f"{index}: names {file}, which is not there")
  return files


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    return safetensors.numpy.load_file(path)
  except (safetensors.SafetensorError, TypeError) as error:
    raise ValueError(f"{path}: damaged safetensors file ({error})") from error


def _dinov2_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Renames arrays; query, key and value of a block become one."""
  renamed = {_rename(name): value for name, value in state.items()}
  for name in [name for name in renamed if ".attn.query." in name]:
    parts = [name.replace("query", part) for part in ("query", "key", "value")]
    missing = [part for part in parts if part not in renamed]
    if missing:
      raise ValueError(f"no parameter for DINOv2's {missing[0]!r}")
    renamed[name.replace("query", "qkv")] = np.concatenate(
      [renamed.pop(part) for part in parts]
    )
  return renamed


def _rename(name: str) -> str:
  for pattern, template in _NAMES:
    match = re.fullmatch(pattern, name)
    if match:
      return match.expand(template)
  raise ValueError(
    f"{name!r} is no parameter of a dinov2 or dinov2_with_registers encoder"
  )
