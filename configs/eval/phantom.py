"""Phantom films, in minutes on two CPU cores; no release is needed.

  python -m scan42_jax.eval.classification --config=configs/eval/phantom.py
    --encoder=work/quickstart --workdir=W

The films are those that the quickstart makes.
"""

import ml_collections

from scan42_jax.eval.config import default_config


def get_config() -> ml_collections.ConfigDict:
  """Returns the evaluation on phantom films."""
  config = default_config()
  config.data.canvas_px = 320
  config.features.batch_size = 64
  config.finetune.update(
    {"steps": 400, "batch_size": 32, "evaluate_every": 50, "warmup_steps": 40}
  )
  return config
