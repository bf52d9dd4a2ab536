"""Where arrays live: one mesh, ordered path rules, batches split by image.

Axes: `data` repeats parameters, `fsdp` splits them and also the batch,
`tensor` splits the wide axis of a layer. Code elsewhere is written on global
arrays; XLA inserts the communication.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import (
  AbstractMesh,
  AxisType,
  Mesh,
  NamedSharding,
  PartitionSpec,
)

from scan42_jax import paths
from scan42_jax.types import Array, Int

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")

# Column-parallel, then row-parallel, so that a block needs one reduction per
# branch (Shoeybi et al. 2019). The last rule repeats what is small.
PARAMETER_RULES: paths.Rules = (
  (r"(qkv|fc1|w12)/kernel$", PartitionSpec("fsdp", "tensor")),
  (r"(attn/proj|fc2|w3)/kernel$", PartitionSpec("tensor", "fsdp")),
  (r"(qkv|fc1|w12)/bias$", PartitionSpec("tensor")),
  (r"prototypes/direction$", PartitionSpec("fsdp", "tensor")),
  (r"prototypes/gain$", PartitionSpec("tensor")),
  (r"mlp_\d+/kernel$", PartitionSpec("fsdp", "tensor")),
  (r"patch_embed/proj/kernel$", PartitionSpec(None, "fsdp")),
  (r"position_embedding$", PartitionSpec(None, "fsdp")),
  (r"", PartitionSpec()),
)


def make_mesh(
  shape: tuple[int, int, int], devices: list[jax.Device] | None = None
) -> Mesh:
  """Arranges all devices in a (data, fsdp, tensor) mesh.

  Args:
    shape: sizes of the axes; one of them may be -1, "whatever is left".
    devices: all of the run's by default.

  Raises:
    ValueError: the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  return jax.make_mesh(
    mesh_shape(shape, len(devices)),
    AXES,
    axis_types=(AxisType.Auto,) * 3,
    devices=devices,
  )


def mesh_shape(
  shape: tuple[int, int, int], num_devices: int
) -> tuple[int, int, int]:
  """Fills in the axis that is -1; see `make_mesh`."""
  known = math.prod(size for size in shape if size != -1)
  if shape.count(-1) == 1 and known > 0 and num_devices % known == 0:
    shape = tuple(num_devices // known if n == -1 else n for n in shape)
  if min(shape) < 1 or math.prod(shape) != num_devices:
    sizes = ", ".join(f"{a}={n}" for a, n in zip(AXES, shape, strict=True))
    raise ValueError(
      f"mesh ({sizes}) does not fit {num_devices} device(s): the sizes must"
      " multiply to that number, and one of them may be -1"
    )
  return shape


def state_sharding(mesh: Mesh | AbstractMesh, state: Any) -> Any:
  """Returns a NamedSharding for every leaf of a state (or its shapes).

  The rules know parameters by name, so moments and teacher, whose paths end in
  the same names, are split alike. An axis that the mesh does not divide is
  repeated instead.
  """

  def place(path: str, leaf: Any) -> NamedSharding:
    spec = paths.first_match(PARAMETER_RULES, path)
    return NamedSharding(mesh, _fit(spec, leaf.shape, mesh))

  return paths.map_with_path(place, state)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Splits the leading axis over data and fsdp."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def local_rows(mesh: Mesh, batch_size: int) -> Int[np.ndarray, "n"]:
  """Returns the rows of a global batch that this process's devices hold.

  Processes that share a part of the batch, as along `tensor`, get the same.
  """
  held = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
  rows = np.arange(batch_size)
  return np.unique(np.concatenate([rows[index] for index in held.values()]))


def place_rows(
  mesh: Mesh, rows: Int[np.ndarray, "n"], batch_size: int, tree: Any
) -> Any:
  """Makes global arrays of what each process has read.

  Args:
    mesh: batches are split over it.
    rows: of the global batch that `tree` holds, see `local_rows`.
    batch_size: of the global batch.
    tree: arrays [n, ...].
  """
  sharding = batch_sharding(mesh)

  def place(x: np.ndarray) -> Array:
    def part(index: tuple[slice, ...]) -> np.ndarray:
      first, last, _ = index[0].indices(batch_size)
      return x[np.searchsorted(rows, np.arange(first, last))]

    shape = (batch_size, *x.shape[1:])
    return jax.make_array_from_callback(shape, sharding, part)

  return jax.tree.map(place, tree)


def replicated(mesh: Mesh) -> NamedSharding:
  """Repeats an array on every device."""
  return NamedSharding(mesh, PartitionSpec())


def num_batch_shards() -> int:
  """Returns into how many parts the mesh in use splits a batch."""
  mesh = jax.sharding.get_abstract_mesh()
  return 1 if mesh.empty else math.prod(mesh.shape[a] for a in BATCH_AXES)


def constrain_batch(x: Array, *, axis: int) -> Array:
  """Keeps `axis` of a traced array split by image; a no-op without a mesh."""
  if jax.sharding.get_abstract_mesh().empty:
    return x
  spec = PartitionSpec(*[None] * axis, BATCH_AXES)
  return jax.lax.with_sharding_constraint(x, spec)


def _fit(
  spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh | AbstractMesh
) -> PartitionSpec:
  """Drops axis names that do not divide the array."""
  names = [*spec, *[None] * (len(shape) - len(spec))][: len(shape)]
  return PartitionSpec(
    *[
      name if name and size % mesh.shape[name] == 0 else None
      for name, size in zip(names, shape, strict=True)
    ]
  )
