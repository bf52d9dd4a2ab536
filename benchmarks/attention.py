"""Speed of attention, forward and backward, beside other ways in the same run.

  python -m benchmarks.attention --size=S --tokens=1374,261,54 --batch=2

Ours is models/attend.py. The others are JAX's own function and, where
--peer_python names an interpreter with torch, torch's fused kernel in
peers/torch_attention.py. All take turns; medians are printed as JSON.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.models.attend import attend
from scan42_jax.models.vit import VIT_SHAPES


def arguments() -> argparse.Namespace:
  """Reads the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--size", choices=VIT_SHAPES, default="S")
  parser.add_argument("--tokens", default="1374,261,54")
  parser.add_argument("--batch", type=int, default=2)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--peer_python", help="interpreter with torch")
  return parser.parse_args()


class JaxWay:
  """One function, compiled forward alone and with its gradients."""

  def __init__(self, function, qkv: list[jax.Array]):
    def loss(q, k, v):
      return jnp.sum(function(q, k, v).astype(jnp.float32))

    self._qkv = qkv
    self._forward = jax.jit(function).lower(*qkv).compile()
    both = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
    self._both = both.lower(*qkv).compile()
    self.temporary_mb = [
      round(program.memory_analysis().temp_size_in_bytes / 1e6, 1)
      for program in (self._forward, self._both)
    ]

  def seconds(self) -> tuple[float, float]:
    """Times one call of each."""
    return tuple(self._time(f) for f in (self._forward, self._both))

  def _time(self, program) -> float:
    start = time.perf_counter()
    jax.block_until_ready(program(*self._qkv))
    return time.perf_counter() - start


class TorchWay:
  """torch's scaled_dot_product_attention, in an interpreter of its own."""

  temporary_mb = None

  def __init__(self, python: str, shape: list[int], dtype: str):
    script = pathlib.Path(__file__).parent / "peers" / "torch_attention.py"
    self._process = subprocess.Popen(
      [python, script],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self._send({"shape": shape, "dtype": dtype})

  def seconds(self) -> tuple[float, float]:
    """Times one call of each."""
    self._send("again")
    return tuple(json.loads(self._process.stdout.readline()))

  def stop(self) -> None:
    """Ends the interpreter."""
    self._process.stdin.close()
    self._process.wait()

  def _send(self, message) -> None:
    self._process.stdin.write(json.dumps(message) + "\n")
    self._process.stdin.flush()


def measure(a: argparse.Namespace, tokens: int) -> dict[str, object]:
  """Times all ways at one length."""
  heads = VIT_SHAPES[a.size]["num_heads"]
  shape = [a.batch, tokens, heads, VIT_SHAPES[a.size]["width"] // heads]
  rng = np.random.default_rng(0)
  qkv = [jnp.asarray(rng.normal(size=shape), a.dtype) for _ in range(3)]
  ways = {
    "ours": JaxWay(attend, qkv),
    "jax": JaxWay(jax.nn.dot_product_attention, qkv),
  }
  if a.peer_python:
    ways["torch"] = TorchWay(a.peer_python, shape, a.dtype)
  for way in ways.values():
    way.seconds()
  rounds = [
    {name: way.seconds() for name, way in ways.items()} for _ in range(a.rounds)
  ]
  if a.peer_python:
    ways["torch"].stop()
  result = {"device": jax.devices()[0].device_kind, "shape": shape}
  for name, way in ways.items():
    times = zip(*(one[name] for one in rounds), strict=True)
    forward, both = (1e3 * statistics.median(t) for t in times)
    result[name] = {
      "forward_ms": round(forward, 2),
      "with_backward_ms": round(both, 2),
      "temporary_mb": way.temporary_mb,
    }
  return result


def main() -> None:
  """Prints one JSON object for each length."""
  a = arguments()
  for tokens in a.tokens.split(","):
    print(json.dumps(measure(a, int(tokens))), flush=True)


if __name__ == "__main__":
  main()
