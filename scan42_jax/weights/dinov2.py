"""DINOv2's parameter names and shapes, read as ours.

One table serves the encoder and both heads: official `.pth` files and training
checkpoints with `backbone.`, `dino_head.` and `ibot_head.` prefixes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np


def _same(x: np.ndarray) -> np.ndarray:
  return x


def _transposed(x: np.ndarray) -> np.ndarray:
  return x.T


def _without_batch(x: np.ndarray) -> np.ndarray:
  """[1, N, D] -> [N, D]."""
  return x[0]


def _flat_patches(x: np.ndarray) -> np.ndarray:
  """[D, C, p, q] convolution -> [p q C, D] matrix."""
  return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])


def _column(x: np.ndarray) -> np.ndarray:
  """[K, 1] -> [K]."""
  return x[:, 0]


# Releases split into chunks of blocks carry the chunk's number first.
_BLOCK = r"blocks\.(?:\d+\.)?(?P<block>\d+)\."

_TABLE: tuple[tuple[str, str, Callable[[np.ndarray], np.ndarray]], ...] = (
  (r"cls_token", "cls_token", _without_batch),
  (r"pos_embed", "position_embedding", _without_batch),
  (r"register_tokens", "registers", _without_batch),
  (r"mask_token", "mask_token", _same),
  (r"patch_embed\.proj\.weight", "patch_embed/proj/kernel", _flat_patches),
  (r"patch_embed\.proj\.bias", "patch_embed/proj/bias", _same),
  (r"norm\.weight", "norm/scale", _same),
  (r"norm\.bias", "norm/bias", _same),
  (_BLOCK + r"norm(\d)\.weight", "{block}/norm{1}/scale", _same),
  (_BLOCK + r"norm(\d)\.bias", "{block}/norm{1}/bias", _same),
  (_BLOCK + r"ls(\d)\.gamma", "{block}/scale{1}/gamma", _same),
  (
    _BLOCK + r"(attn|mlp)\.(\w+)\.weight",
    "{block}/{1}/{2}/kernel",
    _transposed,
  ),
  (_BLOCK + r"(attn|mlp)\.(\w+)\.bias", "{block}/{1}/{2}/bias", _same),
  (r"mlp\.(?P<layer>\d+)\.weight", "{layer}/kernel", _transposed),
  (r"mlp\.(?P<layer>\d+)\.bias", "{layer}/bias", _same),
  (r"mlp\.weight", "mlp_0/kernel", _transposed),
  (r"mlp\.bias", "mlp_0/bias", _same),
  (r"last_layer\.weight_g", "prototypes/gain", _column),
  (r"last_layer\.weight_v", "prototypes/direction", _transposed),
)


def from_dinov2(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Renames and reshapes the weights of one module, encoder or head.

  Args:
    state: arrays by DINOv2 name, prefix of the module removed.

  Returns:
    Arrays by our path, prefix of the module absent.

  Raises:
    ValueError: a name is not DINOv2's, or its array has another rank.
  """
  arrays = {}
  for name, value in state.items():
    path, convert = _translate(name)
    try:
      arrays[path] = convert(value)
    except (ValueError, IndexError) as error:
      raise ValueError(f"{name!r} has shape {value.shape}") from error
  return arrays


def _translate(name: str) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
  for pattern, template, convert in _TABLE:
    match = re.fullmatch(pattern, name)
    if match:
      found = match.groupdict()
      # Every other module of the head's Sequential is its GELU.
      named = {
        "block": f"block_{int(found.get('block', 0)):02d}",
        "layer": f"mlp_{int(found.get('layer', 0)) // 2}",
      }
      return template.format(match[0], *_rest(match), **named), convert
  raise ValueError(f"{name!r} is not a parameter of a DINOv2 encoder or head")


def _rest(match: re.Match) -> list[str]:
  """Groups without a name, in order."""
  named = set(match.re.groupindex.values())
  return [g for i, g in enumerate(match.groups(), 1) if i not in named]
