"""NIH ChestX-ray14 with the official test list: the paper's 8 labels, and 14.

  python -m scan42_jax.eval.classification --config=configs/eval/nih_cxr8.py
    --encoder=SRC --workdir=W --data_dir=D

All 14 labels are learnt; choices are made by the 8 of the paper, whose mean is
a row of its own. `:reference` repeats the published run with its faults.
"""

import ml_collections

from scan42_jax.eval.config import apply_preset, default_config

PAPER_LABELS = (
  "Atelectasis",
  "Cardiomegaly",
  "Effusion",
  "Infiltration",
  "Mass",
  "Nodule",
  "Pneumonia",
  "Pneumothorax",
)


def get_config(preset: str = "default") -> ml_collections.ConfigDict:
  """Returns the evaluation; preset is 'default' or 'reference'."""
  config = default_config()
  config.data.dataset = "nih_cxr8"
  config.report.paper_labels = PAPER_LABELS
  return apply_preset(config, preset, training_films=86_524)
