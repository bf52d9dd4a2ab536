"""Findings of MIMIC-CXR, by the embedded decoder.

  python -m scan42_jax.eval.report_generation \
    --config=configs/eval/mimic_cxr.py --encoder=SRC --workdir=W --data_dir=D

With a language model, in two stages as LLaVA-1.5 with LoRA:

  ... --config.decoder=language_model --language_model=FOLDER \
    --config.training.first.train=projector \
    --config.training.first.learning_rate=1e-3 \
    --config.training.second.train=projector_and_lora \
    --config.training.second.steps=12000 \
    --config.language_model.lora_rank=64
"""

import ml_collections

from scan42_jax.eval.reports.config import default_config


def get_config() -> ml_collections.ConfigDict:
  """Returns the recipe for a GPU."""
  config = default_config()
  config.dtype = "bfloat16"
  config.text.dataset = "mimic_cxr"
  config.text.indication = True
  config.training.first.update({"steps": 30_000, "learning_rate": 3e-4})
  return config
