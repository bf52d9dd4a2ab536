"""Weights of our own runs, from the checkpoints of a work folder."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any, Literal

import numpy as np

from scan42_jax import paths
from scan42_jax.checkpoint import read_checkpoint
from scan42_jax.models.vit import WAYS_TO_COMPUTE, ViTConfig

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class RunWeights:
  """One network of a run at one step.

  Attributes:
    step: of the checkpoint.
    settings: of the run, as plain JSON.
    config: the encoder's shape.
    encoder: arrays by path.
    heads: the same by head.
  """

  step: int
  settings: dict[str, Any]
  config: ViTConfig
  encoder: Arrays
  heads: dict[str, Arrays]


def read_run(
  workdir: pathlib.Path,
  *,
  step: int | None = None,
  which: Literal["teacher", "student"] = "teacher",
) -> RunWeights:
  """Reads one network of a run's checkpoint.

  Args:
    workdir: of the run.
    step: of the checkpoint; None takes the newest that verifies.
    which: network.

  Raises:
    FileNotFoundError: no such work folder, no checkpoint, or no such step.
    ValueError: no checkpoint there can be read, or the one asked for cannot.
  """
  stored = read_checkpoint(workdir, step=step, which=which)
  heads = {name: paths.flatten(tree) for name, tree in stored.params.items()}
  encoder = heads.pop("encoder")
  # How training saved memory says nothing of the weights.
  model = stored.config["model"].items()
  shape = {k: v for k, v in model if k not in WAYS_TO_COMPUTE}
  return RunWeights(
    step=stored.step,
    settings=stored.config,
    config=ViTConfig(**shape),
    encoder=encoder,
    heads=heads,
  )
