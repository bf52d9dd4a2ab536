"""ViT-S/14 with registers, continued from DINOv2 on chest X-rays: 22M.

  python -m scan42_jax.main --config=configs/vits.py --workdir=W --data_dir=D
    --config.init_from=dinov2_vits14_reg4_pretrain.pth

`configs/vits.py:reference` repeats the published run, bugs included.
"""

import ml_collections

from scan42_jax.config import apply_preset, default_config
from scan42_jax.models.vit import VIT_SHAPES


def get_config(preset: str = "default") -> ml_collections.ConfigDict:
  """Returns the recipe; preset is 'default' or 'reference'."""
  config = default_config()
  config.model.update(VIT_SHAPES["S"])
  config.dino_head.num_prototypes = 16384
  config.ibot_head.num_prototypes = 16384
  config.data.datasets = ("chexpert",)
  return apply_preset(config, preset)
