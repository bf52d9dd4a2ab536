"""CheXpert: five labels of the competition by image and by patient maximum.

  python -m scan42_jax.eval.classification --config=configs/eval/chexpert.py
    --encoder=SRC --workdir=W --data_dir=D

Validation is valid.csv, test is test_labels.csv; blank is not mentioned, hence
negative, uncertain is positive. `configs/eval/chexpert.py:reference` repeats
the published fine-tuning with its faults.
"""

import ml_collections

from scan42_jax.datasets.chexpert import COMPETITION_LABELS
from scan42_jax.eval.config import apply_preset, default_config


def get_config(preset: str = "default") -> ml_collections.ConfigDict:
  """Returns the evaluation; preset is 'default' or 'reference'."""
  config = default_config()
  config.data.dataset = "chexpert"
  config.data.labels = COMPETITION_LABELS
  config.report.paper_labels = COMPETITION_LABELS
  config.report.patient_maximum = True
  return apply_preset(
    config, preset, training_films=191_010, drop_registers=True
  )
