"""A work folder as training leaves it, made without training."""

import json
import pathlib

import jax
import numpy as np
import tiny

from scan42_jax.checkpoint import Checkpoints
from scan42_jax.settings import Settings, to_json


def random_networks(settings: Settings, seed: int) -> dict:
  """Returns parameters that tell every channel apart; compiles nothing."""
  shapes = jax.eval_shape(settings.net().init, jax.random.key(0))
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: rng.normal(scale=0.3, size=x.shape).astype(np.float32), shapes
  )


def write_run(
  workdir: pathlib.Path, steps: tuple[int, ...] = (4, 8), **fields
) -> Settings:
  """Writes checkpoints of random networks, metrics and settings.

  Args:
    workdir: the folder.
    steps: of the checkpoints; the seed of a teacher is its step, that of a
      student 100 more.
    fields: of the config, as 'a.b'.
  """
  settings = tiny.settings(**fields)
  workdir.mkdir(parents=True, exist_ok=True)
  checkpoints = Checkpoints(workdir, keep=len(steps))
  for step in steps:
    networks = {
      "teacher": random_networks(settings, step),
      "student": random_networks(settings, 100 + step),
    }
    checkpoints.save(step, networks, to_json(settings))
    checkpoints.wait()
  checkpoints.close()
  lines = [{"step": step, "loss": 9.0 / step} for step in range(1, 9)]
  lines.append({"step": 4, "held_out/knn_auroc": 0.625})
  lines.append({"step": 8, "held_out/knn_auroc": 0.75})
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (workdir / "metrics.jsonl").write_text(text)
  return settings
