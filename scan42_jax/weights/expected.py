"""All that is wrong with the arrays of an encoder, in one message.

Nothing is ever left out in silence: an array that is missing, left over, of
another shape or not finite stops the reading of a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax import paths
from scan42_jax.models.vit import VisionTransformer, ViTConfig

Shapes = Mapping[str, tuple[int, ...]]

_MOST = 8  # Faults that a message lists.


def check_encoder(
  config: ViTConfig,
  arrays: Mapping[str, np.ndarray],
  faults: Iterable[str] = (),
) -> None:
  """Compares arrays with what an encoder has.

  Args:
    config: the encoder's shape.
    arrays: by path.
    faults: what is known already, one sentence each.

  Raises:
    ValueError: lists the faults.
  """
  found = [
    *faults,
    *mismatches(shapes(arrays), encoder_shapes(config), module="encoder"),
    *not_finite(arrays, module="encoder"),
  ]
  if found:
    raise ValueError(f"its parameters do not make one encoder: {listed(found)}")


def mismatches(found: Shapes, expected: Shapes, *, module: str) -> list[str]:
  """Describes every path whose shapes differ, absent ones included."""
  return [
    f"{module}/{path} is {_describe(found.get(path))} in the file and should be"
    f" {_describe(expected.get(path))}"
    for path in dict.fromkeys([*expected, *found])
    if found.get(path) != expected.get(path)
  ]


def not_finite(arrays: Mapping[str, np.ndarray], *, module: str) -> list[str]:
  """Describes every array that holds NaN or Inf."""
  return [
    f"{module}/{path} holds NaN or Inf"
    for path, value in sorted(arrays.items())
    if not np.isfinite(value).all()
  ]


def listed(faults: Sequence[str]) -> str:
  """Joins the first faults and counts the rest."""
  more = len(faults) - _MOST
  shown = "; ".join(faults[:_MOST])
  return f"{shown}; and {more} more" if more > 0 else shown


def shapes(arrays: Mapping[str, Any]) -> Shapes:
  """Returns the shapes of arrays."""
  return {path: tuple(x.shape) for path, x in arrays.items()}


def encoder_shapes(config: ViTConfig) -> Shapes:
  """Returns the shapes of an encoder's parameters by path."""
  # All blocks are alike; tracing one takes a fraction of the time.
  encoder = VisionTransformer(dataclasses.replace(config, depth=1))
  image = jnp.zeros((1, config.patch_size, config.patch_size, 3))
  tree = jax.eval_shape(encoder.init, jax.random.key(0), image)["params"]
  result = {}
  for path, shape in shapes(paths.flatten(tree)).items():
    block, _, rest = path.partition("/")
    if block != "block_00":
      result[path] = shape
      continue
    for i in range(config.depth):
      result[f"block_{i:02d}/{rest}"] = shape
  return result


def _describe(shape: tuple[int, ...] | None) -> str:
  return "absent" if shape is None else str(shape)
