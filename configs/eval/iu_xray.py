"""Findings of the Indiana University films, by the embedded decoder.

  python -m scan42_jax.eval.report_generation \
    --config=configs/eval/iu_xray.py --encoder=SRC --workdir=W --data_dir=D
"""

import ml_collections

from scan42_jax.eval.reports.config import default_config


def get_config() -> ml_collections.ConfigDict:
  """Returns the recipe for some thousand reports, cleaned as R2Gen does."""
  config = default_config()
  config.text.update({"dataset": "iu_xray", "cleaning": "r2gen"})
  config.text.max_report_tokens = 120
  config.small.update({"vocab_size": 2048, "width": 384, "depth": 4})
  config.small.update({"num_heads": 6, "dropout": 0.2})
  config.training.first.update({"steps": 5_000, "learning_rate": 3e-4})
  config.training.update({"batch_size": 32, "evaluate_every": 250})
  config.decoding.update({"method": "beam", "beams": 3, "max_tokens": 120})
  return config
