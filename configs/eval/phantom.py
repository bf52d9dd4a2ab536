"""Phantom films, in minutes on two CPU cores; no release is needed.

  python -m scan42_jax.eval.classification --config=configs/eval/phantom.py
    --encoder=work/quickstart --workdir=W
  python -m scan42_jax.eval.segmentation --config=configs/eval/phantom.py
    --encoder=work/quickstart --workdir=W

The films are those that the quickstart makes.
"""

import ml_collections

from scan42_jax.eval.config import default_config
from scan42_jax.eval.segmenting.mask_config import default_segmentation


def get_config() -> ml_collections.ConfigDict:
  """Returns the evaluations on phantom films."""
  config = default_config()
  config.data.canvas_px = 320
  config.features.batch_size = 64
  config.finetune.update(
    {"steps": 400, "batch_size": 32, "evaluate_every": 50, "warmup_steps": 40}
  )
  segmentation = default_segmentation()
  # A patch of 16 px is coarse for films of 160: they are shown enlarged.
  segmentation.data.update({"dataset": "phantom", "size_px": 320})
  segmentation.train.update({"steps": 600, "batch_size": 16})
  with config.unlocked():
    config.segmentation = segmentation
  return config
