"""Import, loading and speed of encoders, beside `transformers` in one run.

  python -m benchmarks.encoder --size=S --sides=518,224 --batch=2

Weights are random and of true size, in a Hugging Face folder that both read.
The peer, peers/torch_encoder.py, runs where --peer_python names an interpreter
with torch and transformers. Both take turns; medians, minima and their ratios
are printed as JSON. Loading is timed in fresh processes.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import safetensors.numpy

import scan42_jax
from scan42_jax.models.vit import VIT_SHAPES, ViTConfig
from scan42_jax.weights.expected import encoder_shapes
from scan42_jax.weights.huggingface import to_huggingface
from scan42_jax.weights.huggingface_config import config_json

ROOT = pathlib.Path(__file__).parents[1]

# Memory is what the load itself adds: the libraries are there before. Linux
# starts ru_maxrss at the parent's size, hence its other counter.
_LOAD = """
import json, re, sys, time
start = time.perf_counter()
import scan42_jax
imported = time.perf_counter() - start
import jax, scan42_jax.encoder
jax.devices()
def peak():
  status = open("/proc/self/status").read()
  return 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1])
ready, before = time.perf_counter(), peak()
encoder = scan42_jax.load_encoder(sys.argv[1])
print(json.dumps({
  "import_seconds": round(imported, 4),
  "libraries_seconds": round(ready - start - imported, 2),
  "load_seconds": round(time.perf_counter() - ready, 2),
  "memory_over_file": round((peak() - before) / float(sys.argv[2]), 3),
}))
"""


def arguments() -> argparse.Namespace:
  """Reads the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--size", choices=VIT_SHAPES, default="S")
  parser.add_argument("--sides", default="518,224", help="of pictures, px")
  parser.add_argument("--batch", type=int, default=2)
  parser.add_argument("--rounds", type=int, default=10)
  parser.add_argument("--loads", type=int, default=3)
  parser.add_argument("--load_size", choices=VIT_SHAPES, default="B")
  parser.add_argument("--peer_python", help="interpreter with torch")
  parser.add_argument("--peer_threads", type=int, default=0)
  return parser.parse_args()


def write_folder(folder: pathlib.Path, size: str) -> pathlib.Path:
  """Writes random weights as transformers does; returns their file."""
  config = ViTConfig(
    **VIT_SHAPES[size], position_offset=0.0, position_antialias=True
  )
  rng = np.random.default_rng(0)
  arrays = {}
  for path, shape in encoder_shapes(config).items():
    centre = 1.0 if path.endswith(("scale", "gamma")) else 0.0
    noise = 0.02 * rng.standard_normal(shape, np.float32)
    arrays[path] = (centre + noise).astype(np.float32)
  state = {
    k: np.ascontiguousarray(v) for k, v in to_huggingface(arrays).items()
  }
  folder.mkdir()
  (folder / "config.json").write_text(json.dumps(config_json(config)))
  file = folder / "model.safetensors"
  safetensors.numpy.save_file(state, file, {"format": "pt"})
  return file


def loads(folder: pathlib.Path, file: pathlib.Path, count: int) -> list[dict]:
  """Loads in fresh processes, one after the other."""
  command = [sys.executable, "-c", _LOAD, folder, str(file.stat().st_size)]
  return [
    json.loads(subprocess.check_output(command, cwd=ROOT)) for _ in range(count)
  ]


class Peer:
  """`transformers` in its own interpreter; never runs while we do."""

  def __init__(self, python: str, folder: pathlib.Path, threads: int):
    script = pathlib.Path(__file__).parent / "peers" / "torch_encoder.py"
    self.process = subprocess.Popen(
      [python, script],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    self.about = self.ask(folder=str(folder), threads=threads)

  def ask(self, **question) -> dict:
    self.process.stdin.write(json.dumps(question) + "\n")
    self.process.stdin.flush()
    return json.loads(self.process.stdout.readline())


def compare(encoder, peer: Peer | None, pixels: pathlib.Path, rounds: int):
  """Times one batch of pictures in turns."""
  images = np.load(pixels)
  ours, theirs = [], []
  for number in range(rounds + 1):  # The first compiles and is not counted.
    start = time.perf_counter()
    features = encoder.encode(images)
    ours.append(time.perf_counter() - start)
    if peer:
      answer = peer.ask(pixels=str(pixels))
      theirs.append(answer["seconds"])
      if not number:
        difference = np.abs(features.cls[0] - answer["cls"]).max()
  result = {"ours": _summary(ours[1:])}
  if peer:
    result |= {
      "peer": _summary(theirs[1:]),
      "difference": float(difference),
      "faster_by_median": round(
        statistics.median(theirs[1:]) / statistics.median(ours[1:]), 3
      ),
      "faster_by_minimum": round(min(theirs[1:]) / min(ours[1:]), 3),
    }
  return result


def _summary(seconds: list[float]) -> dict[str, float]:
  return {
    "median_seconds": round(statistics.median(seconds), 4),
    "minimum_seconds": round(min(seconds), 4),
  }


def main() -> None:
  """Measures all of it and prints one JSON object."""
  a = arguments()
  with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    report = {}
    if a.loads:
      file = write_folder(scratch / "loaded", a.load_size)
      report["loads"] = loads(file.parent, file, a.loads)
    folder = write_folder(scratch / "timed", a.size).parent
    encoder = scan42_jax.load_encoder(folder)
    peer = None
    if a.peer_python:
      peer = Peer(a.peer_python, folder, a.peer_threads)
      report["peer"] = peer.about
    for side in map(int, a.sides.split(",")):
      pixels = scratch / f"{side}.npy"
      shape = (a.batch, side, side, 3)
      np.save(pixels, np.random.default_rng(1).normal(size=shape).astype("f4"))
      report[f"{side}px"] = compare(encoder, peer, pixels, a.rounds)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
  main()
