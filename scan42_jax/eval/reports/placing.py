"""Where parameters and batches of decoders live on the mesh.

Projections are split as in Shoeybi et al. 2019: the wide axis over `tensor`,
the other over `fsdp`. What no rule names is repeated.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scan42_jax import paths
from scan42_jax.sharding import batch_sharding
from scan42_jax.types import Array

RULES: paths.Rules = (
  (r"lora_a$", ("fsdp",)),
  (r"lora_b$", (None, "fsdp")),
  (r"(qkv|query|key|value|key_value|fc1|gate|up)/kernel$", ("fsdp", "tensor")),
  (r"(proj|fc2|down)/kernel$", ("tensor", "fsdp")),
  (r"(token_embedding|output)/(embedding|kernel)$", ("tensor", "fsdp")),
  (r"", ()),
)


def place_parameters(mesh: Mesh, tree: Any) -> Any:
  """Returns a NamedSharding for every leaf of parameters or of their state.

  An axis that the mesh does not divide is repeated instead.
  """

  def place(path: str, leaf: Any) -> NamedSharding:
    wanted = (*paths.first_match(RULES, path), *[None] * leaf.ndim)[: leaf.ndim]
    fitting = (
      name if name and size % mesh.shape[name] == 0 else None
      for name, size in zip(wanted, leaf.shape, strict=True)
    )
    return NamedSharding(mesh, PartitionSpec(*fitting))

  return paths.map_with_path(place, tree)


def place_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Array]:
  """Splits a batch, which every process holds whole, over the mesh."""
  sharding = batch_sharding(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_callback(x.shape, sharding, x.__getitem__),
    batch,
  )
