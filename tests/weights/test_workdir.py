"""Weights of our own runs, by step and network."""

import numpy as np
import stored_run

from scan42_jax import paths
from scan42_jax.weights.workdir import read_run


def test_network_of_a_step(tmp_path):
  settings = stored_run.write_run(tmp_path, (4, 8), **{"model.remat": "full"})
  run = read_run(tmp_path, step=4, which="student")
  assert run.step == 4 and run.heads.keys() == {"dino_head", "ibot_head"}
  expected = stored_run.random_networks(settings, 104)
  for name, arrays in {"encoder": run.encoder, **run.heads}.items():
    for path, value in paths.flatten(expected[name]).items():
      np.testing.assert_array_equal(arrays[path], value)
  # The shape is that of training; how training saved memory is not part of it.
  assert run.config.width == settings.model.width
  assert run.config.image_size == settings.model.image_size
  assert run.config.remat != settings.model.remat
