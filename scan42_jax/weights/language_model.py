"""Language models of the Llama family from a local Hugging Face folder.

Every device reads its own slice of every array, so that no host holds a model
that is split over many.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from jax.sharding import Sharding

from scan42_jax import paths
from scan42_jax.models.language_model import LanguageModelConfig, RopeScaling
from scan42_jax.types import Array, Params
from scan42_jax.weights.huggingface_config import read_json

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"

# Ours -> theirs, and whether theirs is [out, in] and has to be turned.
_NAMES = (
  (r"^token_embedding/embedding$", "model.embed_tokens.weight", False),
  (r"^norm/scale$", "model.norm.weight", False),
  (r"^output/kernel$", "lm_head.weight", True),
  (r"/norm1/scale$", "input_layernorm.weight", False),
  (r"/norm2/scale$", "post_attention_layernorm.weight", False),
  (r"/attn/query/(kernel|bias)$", "self_attn.q_proj", True),
  (r"/attn/key/(kernel|bias)$", "self_attn.k_proj", True),
  (r"/attn/value/(kernel|bias)$", "self_attn.v_proj", True),
  (r"/attn/proj/(kernel|bias)$", "self_attn.o_proj", True),
  (r"/mlp/(gate|up|down)/(kernel|bias)$", "mlp.{0}_proj", True),
)
# Kept by old files beside the weights; follows from the config.
_IGNORED = re.compile(r"rotary_emb\.inv_freq$")


def read_language_config(folder: pathlib.Path) -> LanguageModelConfig:
  """Reads config.json.

  Raises:
    FileNotFoundError: there is none.
    ValueError: another family, or something that is not done here.
  """
  path = folder / "config.json"
  if not path.is_file():
    raise FileNotFoundError(
      f"{path}: no such file; name the Hugging Face folder of a language model"
    )
  values = read_json(path)
  try:
    return _config(values)
  except (KeyError, ValueError, TypeError) as error:
    reason = f"{error} is missing" if isinstance(error, KeyError) else error
    raise ValueError(f"{path}: {reason}") from None


def _config(values: Mapping[str, Any]) -> LanguageModelConfig:
  kind = values.get("model_type")
  if kind not in ("llama", "qwen2"):
    raise ValueError(f"model_type {kind!r} is none of 'llama', 'qwen2'")
  if values.get("hidden_act", "silu") != "silu":
    raise ValueError(f"hidden_act {values['hidden_act']!r} is not 'silu'")
  if values.get("use_sliding_window"):
    raise ValueError("use_sliding_window is not done here")
  heads = values["num_attention_heads"]
  bias = values.get("attention_bias", False)
  theta, rope = _rope(values)
  return LanguageModelConfig(
    vocab_size=values["vocab_size"],
    width=values["hidden_size"],
    depth=values["num_hidden_layers"],
    num_heads=heads,
    num_key_heads=values.get("num_key_value_heads") or heads,
    head_dim=values.get("head_dim") or values["hidden_size"] // heads,
    hidden=values["intermediate_size"],
    rope_theta=theta,
    rope=rope,
    norm_epsilon=values.get("rms_norm_eps", 1e-6),
    tied=values.get("tie_word_embeddings", False),
    query_bias=True if kind == "qwen2" else bias,
    proj_bias=False if kind == "qwen2" else bias,
    mlp_bias=values.get("mlp_bias", False),
    max_positions=values.get("max_position_embeddings") or 0,
  )


def _rope(values: Mapping[str, Any]) -> tuple[float, RopeScaling]:
  """Reads the old keys and those of transformers 5."""
  rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
  theta = rope.get("rope_theta", values.get("rope_theta", 10_000.0))
  kind = rope.get("rope_type", rope.get("type", "default"))
  if kind == "default":
    return float(theta), RopeScaling()
  if kind == "linear":
    return float(theta), RopeScaling("linear", factor=rope["factor"])
  if kind != "llama3":
    raise ValueError(
      f"rotary scaling {kind!r} is none of 'default', 'linear', 'llama3'"
    )
  return float(theta), RopeScaling(
    "llama3",
    factor=rope["factor"],
    low_factor=rope["low_freq_factor"],
    high_factor=rope["high_freq_factor"],
    original_length=rope["original_max_position_embeddings"],
  )


def load_language_model(
  folder: pathlib.Path,
  shapes: Params,
  *,
  place: Callable[[str], Sharding],
  dtype: str,
) -> Params:
  """Reads the weights of a language model, each device its own part.

  Args:
    folder: with config.json and safetensors, in one file or several.
    shapes: of the parameters; leaves named lora_* are not read and left out.
    place: path of a parameter -> where it lives.
    dtype: of the arrays.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: a file is damaged, lacks an array, has one of another shape, or
      has arrays that no parameter takes.
  """
  wanted = {
    path: shape
    for path, shape in paths.flatten(shapes).items()
    if "/lora_" not in path
  }
  names = {path: their_name(path) for path in wanted}
  files = _files(folder)
  _check_names(folder, names, files, tied="output/kernel" not in wanted)
  return paths.unflatten(
    {
      path: _read(
        folder / files[names[path][0]],
        names[path],
        tuple(shape.shape),
        sharding=place(path),
        dtype=dtype,
      )
      for path, shape in wanted.items()
    }
  )


def their_name(path: str) -> tuple[str, bool]:
  """The name of a parameter in the file, and whether it is turned there.

  Raises:
    KeyError: no such parameter.
  """
  for pattern, theirs, turned in _NAMES:
    match = re.search(pattern, path)
    if not match:
      continue
    groups = match.groups()
    if groups:
      kind = {"kernel": "weight", "bias": "bias"}[groups[-1]]
      theirs = f"{theirs.format(*groups)}.{kind}"
      turned = turned and kind == "weight"
    block = re.match(r"block_(\d+)/", path)
    prefix = f"model.layers.{int(block[1])}." if block else ""
    return prefix + theirs, turned
  raise KeyError(path)


def _files(folder: pathlib.Path) -> dict[str, str]:
  """Name of each array -> file that holds it."""
  if (folder / _INDEX).is_file():
    files = read_json(folder / _INDEX)["weight_map"]
    for name in sorted(set(files.values())):
      if not (folder / name).is_file():
        raise FileNotFoundError(
          f"{folder / name}: no such file, but {_INDEX} names it: the download"
          " is not complete"
        )
    return files
  if not (folder / _SINGLE).is_file():
    fix = ""
    if list(folder.glob("*.bin")):
      fix = (
        "; the folder has pickled *.bin files: convert them once with"
        " transformers, model.save_pretrained(DIR)"
      )
    raise FileNotFoundError(f"{folder}: no {_SINGLE} and no {_INDEX}{fix}")
  with _open(folder / _SINGLE) as file:
    return dict.fromkeys(file.keys(), _SINGLE)


def _check_names(folder, names, files, *, tied) -> None:
  expected = {name for name, _ in names.values()}
  missing = sorted(expected - files.keys())
  if missing:
    raise ValueError(
      f"{folder}: no array {missing[0]} ({len(missing)} missing)"
    )
  left = {name for name in files.keys() - expected if not _IGNORED.search(name)}
  if tied:
    left.discard("lm_head.weight")
  if left:
    raise ValueError(
      f"{folder}: array {min(left)} belongs to no parameter ({len(left)} such):"
      " config.json is of another model"
    )


def _read(path, name, shape, *, sharding, dtype) -> Array:
  theirs, turned = name
  with _open(path) as file:
    found = tuple(file.get_slice(theirs).get_shape())
  expected = shape[::-1] if turned else shape
  if found != expected:
    raise ValueError(
      f"{path}: {theirs} is {found}, config.json says {expected}"
    )

  def part(index: tuple[slice, ...]) -> np.ndarray:
    # A map of the file counts as memory until it is closed.
    with _open(path) as file:
      values = file.get_slice(theirs)[index[::-1] if turned else index]
    return np.asarray(values.T if turned else values, jnp.dtype(dtype))

  return jax.make_array_from_callback(shape, sharding, part)


def _open(path: pathlib.Path):
  try:
    return safetensors.safe_open(path, framework="numpy")
  except (safetensors.SafetensorError, json.JSONDecodeError) as error:
    raise ValueError(f"{path}: damaged safetensors file ({error})") from None
