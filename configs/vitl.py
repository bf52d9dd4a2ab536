"""ViT-L/14 with registers, continued from DINOv2 on chest X-rays: 304M.

  python -m scan42_jax.main --config=configs/vitl.py --workdir=W --data_dir=D
    --config.init_from=dinov2_vitl14_reg4_pretrain.pth

`configs/vitl.py:reference` repeats the published recipe, bugs included.
"""

import ml_collections

from scan42_jax.config import apply_preset, default_config
from scan42_jax.models.vit import VIT_SHAPES


def get_config(preset: str = "default") -> ml_collections.ConfigDict:
  """Returns the recipe; preset is 'default' or 'reference'."""
  config = default_config()
  config.model.update(VIT_SHAPES["L"])
  config.dino_head.num_prototypes = 131072
  config.ibot_head.num_prototypes = 131072
  config.data.datasets = ("chexpert",)
  # Activations of 24 blocks at 518 px do not fit beside the state.
  config.model.remat = "full"
  config.mesh.data, config.mesh.fsdp = 1, -1
  return apply_preset(config, preset)
