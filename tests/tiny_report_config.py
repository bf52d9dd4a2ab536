"""Report generation in seconds; which decoder, a flag says."""

from scan42_jax.eval.reports.config import default_config


def get_config():
  """Returns settings that fit a few random films."""
  config = default_config()
  config.text.update({"dataset": "iu_xray", "max_report_tokens": 24})
  config.small.update({"vocab_size": 300, "width": 16, "depth": 1})
  config.small.num_heads = 2
  config.language_model.update({"template": "tinyllama", "lora_rank": 2})
  config.language_model.pool = 2
  config.training.first.update({"steps": 6, "learning_rate": 1e-2})
  config.training.update({"batch_size": 4, "evaluate_every": 3})
  config.decoding.max_tokens = 12
  config.score.update({"draws": 10, "cases": 1})
  return config
