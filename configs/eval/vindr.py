"""VinDr-CXR: AUPRC of the paper's 7 labels, and of all 28.

  python -m scan42_jax.eval.classification --config=configs/eval/vindr.py
    --encoder=SRC --workdir=W --data_dir=D

The release names no patients, so films are resampled one by one. The published
run chose by its own training films; here validation has films of its own, with
`:reference` as well.
"""

import ml_collections

from scan42_jax.eval.config import apply_preset, default_config

PAPER_LABELS = (
  "Aortic enlargement",
  "Cardiomegaly",
  "Lung Opacity",
  "Pleural effusion",
  "Pleural thickening",
  "Pulmonary fibrosis",
  "Tuberculosis",
)


def get_config(preset: str = "default") -> ml_collections.ConfigDict:
  """Returns the evaluation; preset is 'default' or 'reference'."""
  config = default_config()
  config.metric = "auprc"
  config.data.dataset = "vindr_cxr"
  config.report.paper_labels = PAPER_LABELS
  return apply_preset(config, preset, training_films=15_000)
