"""Puts weights from disk into a network's fresh parameters.

Answers for what may differ between a file and the network that starts from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax import paths
from scan42_jax.models.position import resize_position_embedding
from scan42_jax.types import Params
from scan42_jax.weights.expected import listed, mismatches, shapes
from scan42_jax.weights.initial import Arrays, InitialWeights


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
    ValueError: lists the parameters that do not agree, with both shapes.
  """
  notes: list[str] = []
  placed = dict(params)
  fresh = paths.flatten(params["encoder"])
  weights = _fit(dict(initial.encoder), fresh, initial.source, notes)
  faults = mismatches(shapes(weights), shapes(fresh), module="encoder")
  if faults:
    raise ValueError(
      f"{initial.source}: does not fit the network: {listed(faults)}; take the"
      " encoder's shape from the file"
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
  faults = mismatches(shapes(weights), shapes(fresh), module=name)
  if faults:
    notes.append(f"{name} starts fresh: {initial.source}: {faults[0]}")
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


def _grid(table: np.ndarray | jax.Array) -> int:
  return math.isqrt(len(table) - 1)
