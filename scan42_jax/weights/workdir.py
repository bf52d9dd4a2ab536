"""Weights of our own runs: the newest teacher of a work folder."""

from __future__ import annotations

import pathlib

import numpy as np

from scan42_jax import paths
from scan42_jax.checkpoint import read_teacher
from scan42_jax.models.vit import ViTConfig


def read_workdir(
  workdir: pathlib.Path,
) -> tuple[ViTConfig, dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
  """Reads the teacher of a run's newest checkpoint.

  Returns:
    The encoder's shape, its arrays by path, and those of each head.

  Raises:
    ValueError: no checkpoint there can be read.
  """
  config, teacher = read_teacher(workdir)
  arrays = {name: paths.flatten(module) for name, module in teacher.items()}
  encoder = arrays.pop("encoder")
  return ViTConfig(**config["model"]), encoder, arrays
