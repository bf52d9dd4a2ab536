"""What one step asks of the network between devices, read off its program.

  python -m benchmarks.scaling --size=S --devices=1,8,64,512

Compiles the full-size step for that many virtual devices, with two films a
device unless told otherwise, and sums what its collectives move. Runs nothing,
so it needs no accelerator; prints one JSON object for each number of devices.
"""

import argparse
import json
import os
import re
import subprocess
import sys

_BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "u8": 1}
_COLLECTIVE = re.compile(
  r" = (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|"
  r"collective-permute)(?:-start)?\("
)
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")


def arguments() -> argparse.Namespace:
  """Reads the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--size", default="S")
  parser.add_argument("--films_per_device", type=int, default=2)
  parser.add_argument("--global_px", type=int, default=518)
  parser.add_argument("--local_px", type=int, default=98)
  parser.add_argument("--num_local", type=int, default=8)
  parser.add_argument("--prototypes", type=int, default=16384)
  parser.add_argument("--fsdp", type=int, default=1)
  parser.add_argument("--tensor", type=int, default=1)
  parser.add_argument("--devices", default="1,8,64,512")
  parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
  return parser.parse_args()


def main() -> None:
  """Starts one process for each number of devices."""
  a = arguments()
  if a.alone:
    print(json.dumps(examine(a)), flush=True)
    return
  for number in a.devices.split(","):
    flag = f"--xla_force_host_platform_device_count={number}"
    subprocess.run(
      [
        *(sys.executable, "-m", "benchmarks.scaling", *sys.argv[1:]),
        *("--alone", f"--devices={number}"),
      ],
      env=os.environ | {"XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"},
      check=True,
    )


def examine(a: argparse.Namespace) -> dict[str, object]:
  """Compiles the step and reads its text."""
  # After the flags of the virtual devices are set.
  import dataclasses

  import jax
  import jax.numpy as jnp

  from benchmarks.pretrain_step import make_settings
  from scan42_jax.compute import step_flops
  from scan42_jax.program import (
    compile_step,
    make_training_mesh,
    state_shapes,
  )
  from scan42_jax.settings import MeshSettings
  from scan42_jax.types import Films

  number = int(a.devices)
  a.batch = number * a.films_per_device
  a.canvas_px, a.dtype, a.remat = 1280, "bfloat16", "none"
  a.scan_blocks = False
  settings = make_settings(a)
  group = a.films_per_device
  settings = dataclasses.replace(
    settings,
    mesh=MeshSettings(fsdp=a.fsdp, tensor=a.tensor),
    masks=dataclasses.replace(settings.masks, group_images=group),
    objective=dataclasses.replace(settings.objective, koleo_group=group),
  )
  mesh = make_training_mesh(settings)
  n, side = a.batch, a.canvas_px
  one = jax.ShapeDtypeStruct((n,), jnp.int32)
  films = Films(jax.ShapeDtypeStruct((n, side, side), jnp.uint8), one, one, one)
  with jax.set_mesh(mesh):
    lowered = compile_step(settings, mesh).lower(state_shapes(settings), films)
  text = lowered.compile().as_text()
  moved = collective_bytes(text)
  parameters = sum(
    x.size * 4 for x in jax.tree.leaves(state_shapes(settings).student)
  )
  return {
    "devices": number,
    "films": a.batch,
    "parameter_mb": round(parameters / 1e6, 1),
    "collective_mb": {k: round(v / 1e6, 2) for k, v in moved.items()},
    "useful_gflop_per_film": round(step_flops(settings) / 1e9, 1),
  }


def collective_bytes(text: str) -> dict[str, float]:
  """Sums the results of every collective in a program, by kind.

  Loops count once: collectives inside one are listed under 'in loops'.
  """
  moved: dict[str, float] = {}
  in_loop = False
  for line in text.splitlines():
    if line and not line[0].isspace():
      in_loop = "while" in line.split("(")[0] or "body" in line.split("(")[0]
    found = _COLLECTIVE.search(line)
    if found:
      kind = ("in loops: " if in_loop else "") + found[2]
      moved[kind] = moved.get(kind, 0) + sum(
        _BYTES.get(dtype, 4) * _product(sizes)
        for dtype, sizes in _SHAPE.findall(found[1])
      )
  return moved


def _product(sizes: str) -> int:
  total = 1
  for size in filter(None, sizes.split(",")):
    total *= int(size)
  return total


if __name__ == "__main__":
  main()
