"""Memory that the compiled step asks for, read off its program.

  python -m benchmarks.step_memory --size=B --batch=64 --remat=none,full

Compiles the full-size step for this machine and prints what
`compiled.memory_analysis()` says, one JSON object for each policy and number of
prototypes. Allocates nothing, so that a laptop can ask for a batch of 64. A CPU
has no bfloat16 products and keeps float32 copies: an accelerator needs less.
"""

import argparse
import itertools
import json

import jax
import jax.numpy as jnp

from benchmarks.pretrain_step import make_settings
from scan42_jax.compute import step_flops
from scan42_jax.models.vit import VIT_SHAPES
from scan42_jax.program import compile_step, make_training_mesh, state_shapes
from scan42_jax.types import Films


def arguments() -> argparse.Namespace:
  """Reads the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--size", choices=VIT_SHAPES, default="B")
  parser.add_argument("--batch", type=int, default=64)
  parser.add_argument("--dtype", default="bfloat16")
  parser.add_argument("--remat", default="none,full")
  parser.add_argument("--scan_blocks", action="store_true")
  parser.add_argument("--prototypes", default="16384")
  parser.add_argument("--global_px", type=int, default=518)
  parser.add_argument("--local_px", type=int, default=98)
  parser.add_argument("--num_local", type=int, default=8)
  parser.add_argument("--canvas_px", type=int, default=1280)
  return parser.parse_args()


def examine(a: argparse.Namespace) -> dict[str, object]:
  """Compiles one step; sizes are in GB."""
  settings = make_settings(a)
  mesh = make_training_mesh(settings)
  one = jax.ShapeDtypeStruct((a.batch,), jnp.int32)
  side = a.canvas_px
  pixels = jax.ShapeDtypeStruct((a.batch, side, side), jnp.uint8)
  with jax.set_mesh(mesh):
    lowered = compile_step(settings, mesh).lower(
      state_shapes(settings), Films(pixels, one, one, one)
    )
    memory = lowered.compile().memory_analysis()
  state = memory.argument_size_in_bytes
  return {
    "size": a.size,
    "batch": a.batch,
    "dtype": a.dtype,
    "remat": a.remat,
    "scan_blocks": a.scan_blocks,
    "prototypes": a.prototypes,
    "state_and_films_gb": round(state / 1e9, 2),
    "temporary_gb": round(memory.temp_size_in_bytes / 1e9, 2),
    "peak_gb": round((state + memory.temp_size_in_bytes) / 1e9, 2),
    "useful_gflop_per_film": round(step_flops(settings) / 1e9, 1),
  }


def main() -> None:
  """Prints one JSON object a setting."""
  a = arguments()
  policies, numbers = a.remat.split(","), a.prototypes.split(",")
  for a.remat, number in itertools.product(policies, numbers):
    a.prototypes = int(number)
    print(json.dumps(examine(a)), flush=True)


if __name__ == "__main__":
  main()
