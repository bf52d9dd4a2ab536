"""RSNA Pneumonia Detection Challenge: one label.

  python -m scan42_jax.eval.classification --config=configs/eval/rsna.py
    --encoder=SRC --workdir=W --data_dir=D

The films are NIH's: see docs/results.md on patients who were in pretraining.
`:reference` repeats the published fine-tuning with its faults.
"""

import ml_collections

from scan42_jax.eval.config import apply_preset, default_config


def get_config(preset: str = "default") -> ml_collections.ConfigDict:
  """Returns the evaluation; preset is 'default' or 'reference'."""
  config = default_config()
  config.data.dataset = "rsna_pneumonia"
  config.data.labels = ("Pneumonia",)
  return apply_preset(config, preset, training_films=26_684)
