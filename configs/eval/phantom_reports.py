"""Reports on phantom films, in minutes on two CPU cores.

  python -m scan42_jax.eval.report_generation \
    --config=configs/eval/phantom_reports.py --encoder=SRC --workdir=W
"""

import ml_collections

from scan42_jax.eval.reports.config import default_config


def get_config() -> ml_collections.ConfigDict:
  """Returns the recipe of a decoder that fits a CPU."""
  config = default_config()
  config.text.update({"dataset": "phantom", "max_report_tokens": 80})
  # Every phantom film has a report of its own.
  config.text.unit = "image"
  config.small.update({"vocab_size": 640, "width": 96, "depth": 2})
  config.small.update({"num_heads": 4, "dropout": 0.0})
  # The quickstart's encoder does not tell findings apart: it first learns what
  # reports speak of, then goes on with the decoder, from films as large as they
  # are drawn.
  config.film_px = 160
  config.training.first.update(
    {
      "train": "sentences",
      "steps": 1500,
      "learning_rate": 2e-3,
      "encoder_learning_rate": 2e-3,
    }
  )
  config.training.second.update(
    {"steps": 600, "learning_rate": 2e-3, "encoder_learning_rate": 3e-4}
  )
  config.training.moves.shift = 0.05
  config.training.update(
    {
      "optimizer": "muon",
      "sentence_weight": 1.0,
      "batch_size": 16,
      "evaluate_every": 200,
    }
  )
  config.decoding.max_tokens = 90
  return config
