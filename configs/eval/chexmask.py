"""Lungs and heart of CheXmask, over the films of their release.

  python -m scan42_jax.eval.segmentation --config=configs/eval/chexmask.py
    --encoder=SRC --workdir=W --data_dir=D

`configs/eval/chexmask.py:reference` repeats the published evaluation on
MIMIC-CXR's films, its faults included.
"""

import ml_collections

from scan42_jax.eval.segmenting.mask_config import (
  apply_segmentation_preset,
  default_segmentation,
)

_TRAINING_FILMS = 238_000  # CheXmask's films of MIMIC-CXR's training split.


def get_config(preset: str = "default") -> ml_collections.ConfigDict:
  """Returns the evaluation; preset is 'default' or 'reference'."""
  segmentation = default_segmentation()
  segmentation.train.update(
    {"steps": 5000, "batch_size": 64, "evaluate_every": 500, "patience": 4}
  )
  apply_segmentation_preset(
    segmentation, preset, training_films=_TRAINING_FILMS
  )
  config = ml_collections.ConfigDict({"segmentation": segmentation})
  return config.lock()
