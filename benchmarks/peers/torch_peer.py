"""Starts the PyTorch step, torch_step.py, and asks it for times."""

import json
import pathlib
import subprocess
from collections.abc import Mapping

from scan42_jax.settings import Settings


class TorchStep:
  """The peer in its own interpreter; it computes only when asked.

  Attributes:
    about: its device and version of torch.
    peak_memory_gb: so far.
  """

  def __init__(
    self, python: str, s: Settings, options: Mapping[str, object]
  ) -> None:
    script = pathlib.Path(__file__).parent / "torch_step.py"
    self._process = subprocess.Popen(
      [python, script],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    described = {
      "batch": s.batch_size,
      "width": s.model.width,
      "depth": s.model.depth,
      "num_heads": s.model.num_heads,
      "patch": s.model.patch_size,
      "global_px": s.crops.global_size_px,
      "local_px": s.crops.local_size_px,
      "num_local": s.crops.num_local,
      "hidden": s.dino_head.hidden_dim,
      "bottleneck": s.dino_head.bottleneck_dim,
      "prototypes": s.dino_head.num_prototypes,
      "half": s.dtype == "bfloat16",
      "compile": False,
      "threads": 0,
      "films": None,
    }
    self.about = self._ask(json.dumps(described | dict(options)))

  def seconds(self, steps: int) -> float:
    """Takes steps; returns how long they took."""
    answer = self._ask(str(steps))
    self.peak_memory_gb = round(answer["peak"] / 1e9, 2)
    return answer["seconds"]

  def close(self) -> None:
    """Ends it."""
    self._process.stdin.close()
    self._process.wait()

  def _ask(self, line: str) -> dict:
    self._process.stdin.write(line + "\n")
    self._process.stdin.flush()
    return json.loads(self._process.stdout.readline())
