"""DINOv2's parameter names and shapes, to ours and back.

One table serves the encoder and both heads: official `.pth` files and training
checkpoints with `backbone.`, `dino_head.` and `ibot_head.` prefixes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np

from scan42_jax.weights.expected import listed
from scan42_jax.weights.names import Field, NameTable, unchanged

Convert = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Shape:
  """How an array is laid out there and here."""

  to_ours: Convert
  to_theirs: Convert


def _same(x: np.ndarray) -> np.ndarray:
  return x


def _patch_matrix(x: np.ndarray) -> np.ndarray:
  """[D, C, p, q] -> [p q C, D]."""
  return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])


def _patch_convolution(x: np.ndarray) -> np.ndarray:
  """[p q 3, D] -> [D, 3, p, q], the patch square."""
  side = math.isqrt(len(x) // 3)
  return x.reshape(side, side, 3, -1).transpose(3, 2, 0, 1)


_SAME = _Shape(_same, _same)
_TRANSPOSED = _Shape(np.transpose, np.transpose)
_BATCH_OF_ONE = _Shape(lambda x: x[0], lambda x: x[None])
_ONE_COLUMN = _Shape(lambda x: x[:, 0], lambda x: x[:, None])
_PATCHES = _Shape(_patch_matrix, _patch_convolution)

_FIELDS = {
  # Releases split into chunks of blocks carry the chunk's number first.
  "block": Field(
    theirs=r"(?:\d+\.)?\d+",
    ours=r"block_\d{2,}",
    to_ours=lambda text: f"block_{int(text.split('.')[-1]):02d}",
    to_theirs=lambda text: str(int(text.removeprefix("block_"))),
  ),
  # Every other module of the head's Sequential is its GELU.
  "layer": Field(
    theirs=r"\d*[02468]",
    ours=r"mlp_\d+",
    to_ours=lambda text: f"mlp_{int(text) // 2}",
    to_theirs=lambda text: str(2 * int(text.removeprefix("mlp_"))),
  ),
  "n": unchanged(r"\d"),
  "branch": unchanged("attn|mlp"),
  "dense": unchanged(r"\w+"),
}

_ENCODER = (
  ("cls_token", "cls_token", _BATCH_OF_ONE),
  ("pos_embed", "position_embedding", _BATCH_OF_ONE),
  ("register_tokens", "registers", _BATCH_OF_ONE),
  ("mask_token", "mask_token", _SAME),
  ("patch_embed.proj.weight", "patch_embed/proj/kernel", _PATCHES),
  ("patch_embed.proj.bias", "patch_embed/proj/bias", _SAME),
  ("norm.weight", "norm/scale", _SAME),
  ("norm.bias", "norm/bias", _SAME),
  ("blocks.{block}.norm{n}.weight", "{block}/norm{n}/scale", _SAME),
  ("blocks.{block}.norm{n}.bias", "{block}/norm{n}/bias", _SAME),
  ("blocks.{block}.ls{n}.gamma", "{block}/scale{n}/gamma", _SAME),
  (
    "blocks.{block}.{branch}.{dense}.weight",
    "{block}/{branch}/{dense}/kernel",
    _TRANSPOSED,
  ),
  (
    "blocks.{block}.{branch}.{dense}.bias",
    "{block}/{branch}/{dense}/bias",
    _SAME,
  ),
)
# A head of a single layer has no Sequential, hence no number.
_ONE_LAYER = (
  ("mlp.weight", "mlp_0/kernel", _TRANSPOSED),
  ("mlp.bias", "mlp_0/bias", _SAME),
)
_HEAD = (
  ("mlp.{layer}.weight", "{layer}/kernel", _TRANSPOSED),
  ("mlp.{layer}.bias", "{layer}/bias", _SAME),
  ("last_layer.weight_g", "prototypes/gain", _ONE_COLUMN),
  ("last_layer.weight_v", "prototypes/direction", _TRANSPOSED),
)
_TABLE = NameTable((*_ENCODER, *_HEAD, *_ONE_LAYER), _FIELDS)
_ONE_LAYER_TABLE = NameTable((*_ONE_LAYER, *_HEAD), _FIELDS)


def from_dinov2(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Renames and reshapes the weights of one module, encoder or head.

  Args:
    state: arrays by DINOv2 name, prefix of the module removed.

  Returns:
    Arrays by our path, prefix of the module absent.

  Raises:
    ValueError: names are not DINOv2's, or their arrays have another rank; all
      of them are listed.
  """
  arrays, faults = sort_dinov2(state)
  if faults:
    raise ValueError(listed(faults))
  return arrays


def sort_dinov2(
  state: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], list[str]]:
  """Does what `from_dinov2` does, and returns the faults instead of raising."""
  arrays, faults = {}, []
  for name, value in state.items():
    found = _TABLE.ours(name)
    if found is None:
      faults.append(f"{name!r} is not a parameter of a DINOv2 encoder or head")
      continue
    path, shape = found
    try:
      arrays[path] = shape.to_ours(value)
    except (ValueError, IndexError):
      faults.append(f"{name!r} has shape {value.shape}")
  return arrays, faults


def to_dinov2(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Undoes `from_dinov2`, with one flat list of blocks.

  Args:
    arrays: of one encoder or head, by our path.

  Raises:
    KeyError: a path is none of ours.
  """
  single = "mlp_0/kernel" in arrays and "mlp_1/kernel" not in arrays
  table = _ONE_LAYER_TABLE if single else _TABLE
  state = {}
  for path, value in arrays.items():
    found = table.theirs(path)
    if found is None:
      raise KeyError(f"{path!r} is no parameter of an encoder or head")
    name, shape = found
    state[name] = shape.to_theirs(value)
  return state
