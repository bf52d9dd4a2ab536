"""Where training starts from: weights on disk, fitted into a fresh network.

Answers for which kinds of files are accepted and for what may differ between
file and network. The formats themselves are read next door.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax import paths
from scan42_jax.models.position import resize_position_embedding
from scan42_jax.models.vit import VisionTransformer, ViTConfig
from scan42_jax.types import Params
from scan42_jax.weights.dinov2_file import read_dinov2
from scan42_jax.weights.huggingface import read_huggingface
from scan42_jax.weights.workdir import read_workdir

Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class InitialWeights:
  """Weights of an encoder, and of heads where the file has them.

  Attributes:
    config: the encoder's shape, as the file states or implies it.
    encoder: float32 arrays by path below 'encoder/'.
    heads: the same by head, 'dino_head' or 'ibot_head'.
    source: the file or folder, for messages.
  """

  config: ViTConfig
  encoder: Arrays
  heads: Mapping[str, Arrays]
  source: str


def load_initial(path: str | os.PathLike) -> InitialWeights:
  """Reads a Hugging Face folder, a DINOv2 `.pth` or a work folder of ours.

  Args:
    path: a folder with config.json and safetensors, a released DINOv2 backbone,
      a DINOv2 training checkpoint, or the --workdir of a run.

  Raises:
    FileNotFoundError: nothing there, or the folder lacks a file.
    ValueError: one line on what was found and what is accepted.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise FileNotFoundError(
      f"{path}: no such file or folder; accepted: a Hugging Face folder, a"
      " DINOv2 .pth, or a work folder of this project"
    )
  if path.suffix == ".safetensors":
    raise ValueError(f"{path}: name the folder that holds it and config.json")
  if (path / "checkpoints").is_dir():
    config, encoder, heads = read_workdir(path)
  elif path.is_dir():
    config, encoder = read_huggingface(path)
    heads = {}
  else:
    config, encoder, heads = read_dinov2(path)
  mismatch = _first_mismatch(_shapes(encoder), _encoder_shapes(config))
  if mismatch:
    raise ValueError(
      f"{path}: its parameters do not make one encoder: encoder/{mismatch}"
    )
  return InitialWeights(
    config=config,
    encoder=_float32(encoder),
    heads={name: _float32(arrays) for name, arrays in heads.items()},
    source=str(path),
  )


def place_encoder(
  params: Params, initial: InitialWeights
) -> tuple[Params, tuple[str, ...]]:
  """Puts weights from disk into a network's fresh parameters.

  Registers that the file lacks stay fresh, a position table of another grid is
  resized (offset 0, antialias), heads are taken where the file has them in the
  network's shape. All else must agree.

  Args:
    params: fresh {encoder, dino_head[, ibot_head]}; dtype and sharding of each
      leaf are kept.
    initial: what `load_initial` returned.

  Returns:
    The parameters, and sentences to log on what was not simply copied.

  Raises:
    ValueError: the first parameter that does not agree, with both shapes.
  """
  notes: list[str] = []
  placed = dict(params)
  fresh = paths.flatten(params["encoder"])
  weights = _fit(dict(initial.encoder), fresh, initial.source, notes)
  mismatch = _first_mismatch(_shapes(weights), _shapes(fresh))
  if mismatch:
    raise ValueError(
      f"{initial.source}: does not fit the network: encoder/{mismatch}; take"
      " the encoder's shape from the file"
    )
  placed["encoder"] = _placed(weights, fresh)
  for name in sorted(params.keys() - {"encoder"}):
    _place_head(placed, name, initial, notes)
  for name in sorted(initial.heads.keys() - params.keys()):
    notes.append(
      f"{name} of {initial.source} is not used: the network has none"
    )
  return placed, tuple(notes)


def _fit(
  weights: dict[str, np.ndarray],
  fresh: Mapping[str, jax.Array],
  source: str,
  notes: list[str],
) -> dict[str, np.ndarray]:
  """Bridges the two differences that an encoder may have."""
  if "registers" in fresh and "registers" not in weights:
    weights["registers"] = fresh["registers"]
    notes.append(
      f"{len(fresh['registers'])} registers start fresh: {source} has none"
    )
  name = "position_embedding"
  side, new_side = _grid(weights[name]), _grid(fresh[name])
  if side != new_side:
    weights[name] = resize_position_embedding(
      jnp.asarray(weights[name]),
      (new_side, new_side),
      offset=0.0,
      antialias=True,
    )
    notes.append(
      f"position_embedding of {source} was resized from {side} x {side} to"
      f" {new_side} x {new_side} patches"
    )
  return weights


def _place_head(
  placed: dict[str, Params],
  name: str,
  initial: InitialWeights,
  notes: list[str],
) -> None:
  fresh = paths.flatten(placed[name])
  if name not in initial.heads:
    notes.append(f"{name} starts fresh: {initial.source} has none")
    return
  weights = initial.heads[name]
  mismatch = _first_mismatch(_shapes(weights), _shapes(fresh))
  if mismatch:
    notes.append(f"{name} starts fresh: {initial.source}: {name}/{mismatch}")
    return
  placed[name] = _placed(weights, fresh)


def _placed(weights: Arrays, fresh: Mapping[str, jax.Array]) -> Params:
  """Gives arrays the dtype and sharding of the leaves they replace."""
  return paths.unflatten(
    {
      # Donated later, so it must not share memory with the file's array.
      path: jax.device_put(
        weights[path].astype(leaf.dtype), leaf.sharding, may_alias=False
      )
      for path, leaf in fresh.items()
    }
  )


def _first_mismatch(found: Shapes, expected: Shapes) -> str | None:
  """Describes the first path whose shapes differ, absent ones included."""
  for path in [*expected, *found]:
    ours, theirs = (_describe(shapes.get(path)) for shapes in (expected, found))
    if ours != theirs:
      return f"{path} is {theirs} in the file and should be {ours}"
  return None


def _describe(shape: tuple[int, ...] | None) -> str:
  return "absent" if shape is None else str(shape)


def _shapes(arrays: Mapping[str, Any]) -> Shapes:
  return {path: tuple(x.shape) for path, x in arrays.items()}


def _encoder_shapes(config: ViTConfig) -> Shapes:
  image = jnp.zeros((1, config.patch_size, config.patch_size, 3))
  encoder = VisionTransformer(config)
  tree = jax.eval_shape(encoder.init, jax.random.key(0), image)["params"]
  return _shapes(paths.flatten(tree))


def _float32(arrays: Arrays) -> Arrays:
  return {path: np.asarray(x, np.float32) for path, x in arrays.items()}


def _grid(table: np.ndarray | jax.Array) -> int:
  return math.isqrt(len(table) - 1)
