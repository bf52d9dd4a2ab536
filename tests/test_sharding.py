"""Meshes, and where parameters live."""

import subprocess
import sys

import jax
import pytest
import runs
from jax.sharding import PartitionSpec

from scan42_jax.sharding import make_mesh, state_sharding


def test_one_axis_takes_the_devices_that_are_left():
  assert dict(make_mesh((-1, 2, 2)).shape) == {
    "data": 2,
    "fsdp": 2,
    "tensor": 2,
  }


@pytest.mark.parametrize(
  "shape", [(3, 1, 1), (-1, 3, 1), (-1, -1, 1), (0, 8, 1)]
)
def test_a_mesh_that_does_not_fit_says_so(shape):
  with pytest.raises(ValueError, match=r"does not fit 8 device\(s\)"):
    make_mesh(shape)


def test_an_axis_that_does_not_divide_is_repeated():
  mesh = make_mesh((2, 2, 2))
  leaf = jax.ShapeDtypeStruct((7, 6), "float32")
  placed = state_sharding(mesh, {"attn": {"qkv": {"kernel": leaf}}})
  assert placed["attn"]["qkv"]["kernel"].spec == PartitionSpec(None, "tensor")


_LOWER = """
import pathlib, sys, jax
sys.path.insert(0, "tests")
from test_settings import load_config
from scan42_jax.config import from_config
from scan42_jax.sharding import batch_sharding
from scan42_jax.program import (
  compile_step, make_training_mesh, state_shapes, state_shardings)
from scan42_jax.types import Films

config = load_config("vitb")
config.mesh.data, config.mesh.fsdp, config.mesh.tensor = -1, 2, 2
settings = from_config(config)
mesh = make_training_mesh(settings)
assert dict(mesh.shape) == {"data": 4, "fsdp": 2, "tensor": 2}
place = state_shardings(settings, mesh)
shapes = jax.tree.map(
  lambda x, p: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=p),
  state_shapes(settings), place)
images, side = settings.batch_size, settings.data.canvas_px
batch = batch_sharding(mesh)
number = jax.ShapeDtypeStruct((images,), "int32", sharding=batch)
pixels = jax.ShapeDtypeStruct((images, side, side), "uint8", sharding=batch)
with jax.set_mesh(mesh):
  lowered = compile_step(settings, mesh).lower(
    shapes, Films(pixels, number, number, number))
millions = sum(x.size for x in jax.tree.leaves(shapes.student["encoder"])) / 1e6
share = sum(
  x.dtype.itemsize * __import__("math").prod(x.sharding.shard_shape(x.shape))
  for x in jax.tree.leaves(shapes))
whole = sum(x.dtype.itemsize * x.size for x in jax.tree.leaves(shapes))
print(f"{millions:.1f}M parameters, {share / whole:.3f} of the state a device")
assert abs(millions - 86.6) < 0.1 and share < whole / 3
assert "sdy" in lowered.as_text() or "sharding" in lowered.as_text()
"""


def test_vitb_lowers_at_full_size_for_16_devices():
  environment = runs.environment()
  environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=16"
  done = subprocess.run(
    [sys.executable, "-c", _LOWER],
    cwd=runs.ROOT,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert "86.6M parameters" in done.stdout
