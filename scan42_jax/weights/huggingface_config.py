"""config.json of a Hugging Face folder: an encoder's shape, read and written.

What the file has no key for, how position tables are resized, lies in a file of
our own beside it; without that file it is what transformers does.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

from scan42_jax.models.vit import ViTConfig

OWN_FILE = "scan42.json"
"""Beside config.json in folders that this project wrote."""

# transformers resizes position tables to the very size, but antialiases only
# where the model type has registers.
_ANTIALIAS = {"dinov2": False, "dinov2_with_registers": True}
_CLASSES = {
  "dinov2": "Dinov2Model",
  "dinov2_with_registers": "Dinov2WithRegistersModel",
}

# What our encoder is built for; absent keys mean these values, too.
_FIXED = {
  "hidden_act": "gelu",
  "layer_norm_eps": 1e-6,
  "num_channels": 3,
  "qkv_bias": True,
}
_FIXED_OF = {"dinov2": {"use_mask_token": True}, "dinov2_with_registers": {}}


def read_config(folder: pathlib.Path) -> ViTConfig:
  """Reads the shape of an encoder of a type that transformers has.

  Raises:
    FileNotFoundError: no config.json.
    ValueError: another model type, or a value that our encoder cannot have.
  """
  path = folder / "config.json"
  if not path.is_file():
    raise FileNotFoundError(
      f"{folder}: no config.json; a Hugging Face folder holds config.json and"
      " model.safetensors"
    )
  values = read_json(path)
  try:
    config = _vit_config(values)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  own = folder / OWN_FILE
  if not own.is_file():
    return config
  try:
    return with_resize(config, read_json(own)["position_embedding_resize"])
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f"{own}: no position_embedding_resize with offset and antialias; take"
      " the file away to resize as transformers does"
    ) from error


def config_json(config: ViTConfig) -> dict[str, Any]:
  """Returns what `read_config` reads, and transformers.

  Raises:
    ValueError: transformers has no such encoder.
  """
  model_type = "dinov2_with_registers" if config.num_registers else "dinov2"
  values = {
    "architectures": [_CLASSES[model_type]],
    "attention_probs_dropout_prob": 0.0,
    "drop_path_rate": config.drop_path,
    "hidden_dropout_prob": 0.0,
    "hidden_size": config.width,
    "image_size": config.image_size,
    "initializer_range": 0.02,
    "layerscale_value": config.layer_scale,
    "mlp_ratio": _whole_ratio(config),
    "model_type": model_type,
    "num_attention_heads": config.num_heads,
    "num_hidden_layers": config.depth,
    "patch_size": config.patch_size,
    "torch_dtype": "float32",
    "use_swiglu_ffn": config.swiglu,
    **_FIXED,
    **_FIXED_OF[model_type],
  }
  if config.num_registers:
    values["num_register_tokens"] = config.num_registers
  return dict(sorted(values.items()))


def resize_json(config: ViTConfig) -> dict[str, Any]:
  """Returns how the position table is resized, for `with_resize`."""
  return {
    "offset": config.position_offset,
    "antialias": config.position_antialias,
  }


def with_resize(config: ViTConfig, resize: dict[str, Any]) -> ViTConfig:
  """Returns the shape with another way to resize the position table."""
  offset, antialias = resize["offset"], resize["antialias"]
  if type(offset) not in (int, float) or type(antialias) is not bool:
    raise ValueError("offset must be a number, antialias true or false")
  return dataclasses.replace(
    config, position_offset=float(offset), position_antialias=antialias
  )


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Reads a file that holds one JSON object.

  Raises:
    ValueError: it holds something else.
  """
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"{path}: not JSON ({error})") from error
  if not isinstance(content, dict):
    raise ValueError(f"{path}: not a JSON object")
  return content


def _vit_config(values: dict[str, Any]) -> ViTConfig:
  model_type = values.get("model_type")
  if not isinstance(model_type, str) or model_type not in _ANTIALIAS:
    raise ValueError(
      f"model_type is {model_type!r}; accepted: {', '.join(_ANTIALIAS)}"
    )
  for key, value in (_FIXED | _FIXED_OF["dinov2"]).items():
    if values.get(key, value) != value:
      raise ValueError(f"{key} is {values[key]!r}; only {value!r} is supported")
  width = _positive(values, "hidden_size")
  num_heads = _positive(values, "num_attention_heads")
  if width % num_heads:
    raise ValueError(
      f"hidden_size {width} does not divide by {num_heads} heads"
    )
  has_registers = model_type == "dinov2_with_registers"
  return ViTConfig(
    width=width,
    depth=_positive(values, "num_hidden_layers"),
    num_heads=num_heads,
    patch_size=_positive(values, "patch_size"),
    num_registers=_positive(values, "num_register_tokens")
    if has_registers
    else 0,
    image_size=_positive(values, "image_size"),
    mlp_ratio=_number(values, "mlp_ratio", default=4),
    swiglu=bool(values.get("use_swiglu_ffn", False)),
    layer_scale=_number(values, "layerscale_value", default=1.0),
    drop_path=_number(values, "drop_path_rate", default=0.0, above_zero=False),
    position_offset=0.0,
    position_antialias=_ANTIALIAS[model_type],
  )


def _positive(values: dict[str, Any], key: str) -> int:
  value = values.get(key)
  if type(value) is not int or value < 1:
    raise ValueError(f"{key} must be a positive integer, not {value!r}")
  return value


def _number(
  values: dict[str, Any], key: str, *, default: float, above_zero: bool = True
) -> float:
  value = values.get(key, default)
  valid = type(value) in (int, float) and math.isfinite(value) and value >= 0
  if not valid or (above_zero and value == 0):
    kind = "positive" if above_zero else "non-negative"
    raise ValueError(f"{key} must be a {kind} number, not {value!r}")
  return float(value)


def _whole_ratio(config: ViTConfig) -> int:
  """The whole mlp_ratio of the same hidden channels: others are refused."""
  ratio = config.mlp_ratio
  for whole in {math.floor(ratio), math.ceil(ratio)}:
    if _hidden(config, whole) == _hidden(config, ratio):
      return whole
  raise ValueError(
    f"mlp_ratio {ratio} is not whole, and transformers knows no other"
  )


def _hidden(config: ViTConfig, ratio: float) -> int:
  """Hidden channels of the feed-forward, see models/layers.py."""
  hidden = int(config.width * ratio)
  return (int(hidden * 2 / 3) + 7) // 8 * 8 if config.swiglu else hidden
