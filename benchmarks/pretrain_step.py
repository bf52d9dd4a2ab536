"""Speed of one pretraining step, beside a plain PyTorch one in the same run.

  python -m benchmarks.pretrain_step --size=S --batch=32

Needs jax, flax, optax and einops only. The peer, peers/torch_step.py, runs
where --peer_python names an interpreter with torch and transformers. Both take
turns; medians and their ratio are printed as JSON, with the model's FLOPs,
their share of a matrix product timed in the same run, and the share of the step
that crops and masks take.
"""

import argparse
import dataclasses
import functools
import json
import resource
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.torch_peer import TorchStep
from scan42_jax.compute import step_flops
from scan42_jax.data.batches import make_batch
from scan42_jax.models.vit import VIT_SHAPES, ViTConfig
from scan42_jax.optim import Optimizer
from scan42_jax.program import compile_step, make_training_mesh, state_shardings
from scan42_jax.settings import HeadSettings, Settings, check
from scan42_jax.train_step import init_state
from scan42_jax.types import Films


def arguments() -> argparse.Namespace:
  """Reads the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--size", choices=VIT_SHAPES, default="S")
  parser.add_argument("--batch", type=int, default=32)
  parser.add_argument("--global_px", type=int, default=518)
  parser.add_argument("--local_px", type=int, default=98)
  parser.add_argument("--num_local", type=int, default=8)
  parser.add_argument("--prototypes", type=int, default=16384)
  parser.add_argument("--canvas_px", type=int, default=1280)
  parser.add_argument("--dtype", default="bfloat16")
  parser.add_argument("--remat", default="none")
  parser.add_argument("--scan_blocks", action="store_true")
  parser.add_argument("--steps", type=int, default=5, help="of a round")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--peer_python", help="interpreter with torch")
  parser.add_argument("--peer_compile", action="store_true")
  parser.add_argument("--peer_threads", type=int, default=0)
  return parser.parse_args()


def make_settings(a: argparse.Namespace) -> Settings:
  """Returns the run that the command line describes."""
  default = Settings()
  head = HeadSettings(num_prototypes=a.prototypes)
  settings = dataclasses.replace(
    default,
    batch_size=a.batch,
    dtype=a.dtype,
    model=ViTConfig(
      **VIT_SHAPES[a.size],
      image_size=a.global_px,
      remat=a.remat,
      scan_blocks=a.scan_blocks,
    ),
    dino_head=head,
    ibot_head=head,
    crops=dataclasses.replace(
      default.crops,
      global_size_px=a.global_px,
      local_size_px=a.local_px,
      num_local=a.num_local,
    ),
    masks=dataclasses.replace(default.masks, group_images=a.batch),
    objective=dataclasses.replace(default.objective, koleo_group=a.batch),
    data=dataclasses.replace(default.data, canvas_px=a.canvas_px),
  )
  check(settings)
  return settings


def random_films(s: Settings) -> Films:
  """Returns noise on full canvases."""
  side, n = s.data.canvas_px, s.batch_size
  pixels = np.random.default_rng(0).integers(0, 256, (n, side, side), np.uint8)
  size = np.full(n, side, np.int32)
  return Films(pixels, size, size, np.arange(n, dtype=np.int32))


def timed(function, count: int) -> float:
  """Returns seconds of `count` calls, the device's work included."""
  start = time.perf_counter()
  for _ in range(count):
    result = function()
  jax.block_until_ready(result)
  return time.perf_counter() - start


class OurStep:
  """Holds the state, which every step replaces."""

  def __init__(self, settings: Settings):
    mesh = make_training_mesh(settings)
    jax.set_mesh(mesh)
    net, optimizer = settings.net(), Optimizer(settings.optimizer)
    self.state = jax.jit(
      lambda key: init_state(net, optimizer, net.init(key)),
      out_shardings=state_shardings(settings, mesh),
    )(jax.random.key(0))
    self.films = jax.device_put(random_films(settings))
    self.step = compile_step(settings, mesh)
    self.crops = jax.jit(
      functools.partial(
        make_batch,
        key=jax.random.key(0),
        crops=settings.crops,
        masks=settings.masks,
        patch_size=settings.model.patch_size,
      )
    )

  def __call__(self):
    self.state, metrics = self.step(self.state, self.films)
    return metrics["loss"]

  def make_crops(self):
    return self.crops(self.films)


def matmul_flops_per_second(dtype: str) -> float:
  """Times a large square matrix product, the chip's practical peak."""
  side = 8192 if jax.default_backend() != "cpu" else 2048
  x = jnp.ones((side, side), dtype)
  product = jax.jit(jnp.matmul)
  jax.block_until_ready(product(x, x))
  return 2 * side**3 / min(timed(lambda: product(x, x), 1) for _ in range(10))


def peak_memory() -> int:
  """Returns the device's peak in bytes; on a CPU that of the process."""
  found = jax.devices()[0].memory_stats() or {}
  process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  return found.get("peak_bytes_in_use", process)


def main() -> None:
  """Times both in turns and prints one JSON object."""
  a = arguments()
  settings = make_settings(a)
  ours = OurStep(settings)
  peer = None
  if a.peer_python:
    options = {"compile": a.peer_compile, "threads": a.peer_threads}
    peer = TorchStep(a.peer_python, settings, options)
  timed(ours, 2), timed(ours.make_crops, 1)
  peer and peer.seconds(2)
  times = {"ours": [], "crops": [], "peer": []}
  for _ in range(a.rounds):
    times["ours"].append(timed(ours, a.steps) / a.steps)
    times["crops"].append(timed(ours.make_crops, a.steps) / a.steps)
    if peer:
      times["peer"].append(peer.seconds(a.steps) / a.steps)
  medians = {k: statistics.median(v) for k, v in times.items() if v}
  flops = step_flops(settings) * a.batch
  peak = matmul_flops_per_second(a.dtype)
  print(
    json.dumps(
      {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "settings": vars(a) | {"peer_python": None},
        "seconds_per_step": round(medians["ours"], 4),
        "images_per_second": round(a.batch / medians["ours"], 2),
        "model_gflop_per_image": round(flops / a.batch / 1e9, 1),
        "matmul_tflop_per_second": round(peak / 1e12, 3),
        "share_of_matmul": round(
          flops / medians["ours"] / peak / jax.device_count(), 3
        ),
        "crops_share_of_step": round(medians["crops"] / medians["ours"], 4),
        "peak_memory_gb": round(peak_memory() / 1e9, 2),
        "peer": peer
        and {
          **peer.about,
          "seconds_per_step": round(medians["peer"], 4),
          "peak_memory_gb": peer.peak_memory_gb,
          "ours_is_faster_by": round(medians["peer"] / medians["ours"], 3),
        },
      }
    )
  )


if __name__ == "__main__":
  main()
