"""DINOv2 checkpoints: released backbones and training checkpoints.

A `.pth` stores arrays only, and the encoder's shape is read off them; the
safetensors files that are written here state what arrays cannot tell. Names are
translated in dinov2.py, a `.pth` is opened in torch_file.py.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from scan42_jax.models.vit import ViTConfig
from scan42_jax.weights.dinov2 import from_dinov2, sort_dinov2, to_dinov2
from scan42_jax.weights.expected import check_encoder, listed
from scan42_jax.weights.huggingface_config import resize_json, with_resize
from scan42_jax.weights.safetensors_file import read_metadata, read_safetensors
from scan42_jax.weights.torch_file import read_torch_file

Arrays = dict[str, np.ndarray]

_METADATA = "scan42"  # What our safetensors files state besides arrays.
_HEAD_WIDTH = 64  # Channels of an attention head in every DINOv2 size.
_WRAPPERS = r"\b(module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
_HEADS = ("dino_head", "ibot_head")


def read_dinov2(
  path: str | os.PathLike,
) -> tuple[ViTConfig, Arrays, dict[str, Arrays]]:
  """Reads a backbone, bare or under 'model', or a 'teacher' with its heads.

  Position embeddings are resized as each kind of file was made to: releases
  with registers by offset 0 with antialias, training checkpoints and releases
  without registers by offset 0.1 without.

  Args:
    path: a `.pth`, or a `.safetensors` with the same names.

  Returns:
    The encoder's shape, its arrays by our path, and those of each head in the
    file, 'dino_head' and 'ibot_head'.

  Raises:
    FileNotFoundError: no such file.
    ValueError: unreadable, or not DINOv2's layout.
  """
  path = pathlib.Path(path)
  stated: dict[str, Any] = {}
  if path.suffix == ".safetensors":
    state, stated = read_safetensors(path), _read_stated(path)
    trained = any(name.startswith("backbone.") for name in state)
  else:
    content = read_torch_file(path)
    state = content.get("teacher", content.get("model", content))
    trained = "teacher" in content
  try:
    modules = _modules(state)
    encoder, faults = sort_dinov2(modules.pop("backbone"))
    heads = {name: from_dinov2(arrays) for name, arrays in modules.items()}
    try:
      config = _config(
        encoder, trained=trained, num_heads=stated.get("num_heads")
      )
    except ValueError as error:
      raise ValueError(listed([*faults, str(error)])) from error
    if stated:
      config = with_resize(config, stated["position_embedding_resize"])
    check_encoder(config, encoder, faults)
    return config, encoder, heads
  except ValueError as error:
    raise ValueError(
      f"{path}: {error}; accepted: a DINOv2 backbone, or a training checkpoint"
      " with 'backbone.' names under 'teacher'"
    ) from error


def write_dinov2(
  path: pathlib.Path,
  config: ViTConfig,
  modules: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
  """Writes safetensors with the names of a training checkpoint's 'teacher'.

  Args:
    path: the file.
    config: the encoder's shape.
    modules: arrays by our path, of 'encoder' and of any heads.
  """
  state = {}
  for name, arrays in modules.items():
    prefix = "backbone" if name == "encoder" else name
    for dinov2_name, value in to_dinov2(arrays).items():
      state[f"{prefix}.{dinov2_name}"] = np.ascontiguousarray(value)
  stated = {
    "num_heads": config.num_heads,
    "position_embedding_resize": resize_json(config),
  }
  safetensors.numpy.save_file(state, path, {_METADATA: json.dumps(stated)})


def _read_stated(path: pathlib.Path) -> dict[str, Any]:
  """Reads what `write_dinov2` states of a file; {} if others wrote it."""
  text = read_metadata(path).get(_METADATA, "{}")
  try:
    stated = json.loads(text)
    valid = not stated or (
      type(stated["num_heads"]) is int
      and isinstance(stated["position_embedding_resize"], dict)
    )
  except (KeyError, TypeError, ValueError):
    valid = False
  if not valid:
    raise ValueError(f"{path}: its metadata {_METADATA!r} is damaged")
  return stated


def _modules(state: Any) -> dict[str, Arrays]:
  """Splits a state dict into backbone and heads."""
  if not isinstance(state, Mapping) or not state:
    raise ValueError("no parameters found")
  for name, value in state.items():
    if not isinstance(value, np.ndarray):
      raise ValueError(f"{name!r} holds {type(value).__name__}, not a tensor")
    if str(name).endswith("_flat_param"):
      raise ValueError(
        "sharded checkpoint of one process (flat parameters); save the full"
        " state dict"
      )
  if any(str(name).startswith("embeddings.") for name in state):
    raise ValueError(
      "names as in Hugging Face: name the folder that holds the file and its"
      " config.json"
    )
  state = {re.sub(_WRAPPERS, "", str(k)): v for k, v in state.items()}
  if "cls_token" in state:
    return {"backbone": state}
  strange = [
    f"{name!r} belongs to no DINOv2 encoder or head"
    for name in state
    if name.partition(".")[0] not in ("backbone", *_HEADS)
  ]
  if strange:
    raise ValueError(listed(strange))
  modules: dict[str, Arrays] = {}
  for name, value in state.items():
    module, _, rest = name.partition(".")
    modules.setdefault(module, {})[rest] = value
  if "cls_token" not in modules.get("backbone", {}):
    raise ValueError("no 'backbone.cls_token' found")
  return modules


def _config(
  encoder: Arrays, *, trained: bool, num_heads: int | None
) -> ViTConfig:
  """Reads an encoder's shape off its arrays, but for stated heads."""
  width = _matrix(encoder, "cls_token")[1]
  if num_heads is None and width % _HEAD_WIDTH:
    raise ValueError(
      f"width {width} is no multiple of {_HEAD_WIDTH} channels a head, and the"
      " file does not store its head count"
    )
  if num_heads is not None and (num_heads < 1 or width % num_heads):
    raise ValueError(f"width {width} does not divide by {num_heads} heads")
  patch_size = _root(_matrix(encoder, "patch_embed/proj/kernel")[0] / 3)
  grid = _root(_matrix(encoder, "position_embedding")[0] - 1)
  swiglu = "block_00/mlp/w12/kernel" in encoder
  last_layer = "w3" if swiglu else "fc2"
  hidden = _matrix(encoder, f"block_00/mlp/{last_layer}/kernel")[0]
  has_registers = "registers" in encoder
  num_registers = _matrix(encoder, "registers")[0] if has_registers else 0
  released_registers = num_registers > 0 and not trained
  return ViTConfig(
    width=width,
    depth=len({p.split("/")[0] for p in encoder if p.startswith("block_")}),
    num_heads=num_heads or width // _HEAD_WIDTH,
    patch_size=patch_size,
    num_registers=num_registers,
    image_size=grid * patch_size,
    # The gate of SwiGLU cuts the hidden channels to two thirds.
    mlp_ratio=hidden * (1.5 if swiglu else 1.0) / width,
    swiglu=swiglu,
    position_offset=0.0 if released_registers else 0.1,
    position_antialias=released_registers,
  )


def _matrix(encoder: Arrays, path: str) -> tuple[int, int]:
  """Returns the shape of an array that must be there with two axes."""
  if path not in encoder:
    raise ValueError(f"no array for our encoder/{path}")
  shape = encoder[path].shape
  if len(shape) != 2 or not all(shape):
    raise ValueError(f"the array for our encoder/{path} has shape {shape}")
  return shape


def _root(number: int | float) -> int:
  root = round(max(number, 0) ** 0.5)
  if root < 1 or root * root != number:
    raise ValueError("patches or position table are not square")
  return root
