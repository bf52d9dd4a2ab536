"""Reports on phantom films, in minutes on two CPU cores.

  python -m scan42_jax.eval.report_generation \
    --config=configs/eval/phantom_reports.py --encoder=SRC --workdir=W
"""

import ml_collections

from scan42_jax.eval.reports.config import default_config


def get_config() -> ml_collections.ConfigDict:
  """Returns the recipe of a decoder that fits a CPU."""
  config = default_config()
  config.text.update({"dataset": "phantom", "max_report_tokens": 96})
  config.small.update({"vocab_size": 512, "width": 128, "depth": 3})
  config.small.update({"num_heads": 4, "dropout": 0.1})
  config.training.first.update({"steps": 1500, "learning_rate": 1e-3})
  config.training.update({"batch_size": 32, "evaluate_every": 250})
  config.decoding.max_tokens = 100
  return config
