"""The whole chain on phantom films, in minutes on two CPU cores.

  python -m scan42_jax.main --config=configs/quickstart.py --workdir=W

Makes the phantom films, pretrains a tiny encoder from scratch, and compares a
linear probe on it with one on the encoder it started from.
"""

import ml_collections

from scan42_jax.settings import default_config


def get_config() -> ml_collections.ConfigDict:
  """Returns the recipe of a run from scratch on little data."""
  config = default_config()
  config.batch_size = 32
  config.dtype = "float32"  # CPUs have no fast bfloat16.
  config.model.update({"width": 128, "depth": 6, "num_heads": 4})
  config.model.layer_scale = 0.1
  for head in (config.dino_head, config.ibot_head):
    head.num_prototypes = 1024
    head.hidden_dim = 256
    head.bottleneck_dim = 64
  config.crops.global_size_px = 70
  config.crops.local_size_px = 42
  config.crops.num_local = 4
  config.masks.group_images = 32
  config.objective.koleo_group = 32
  config.optimizer.patch_embed_multiplier = 1.0
  config.schedule.update(
    {
      "total_steps": 400,
      "learning_rate": 1e-3,
      "learning_rate_scaling": "none",
      "warmup_steps": 40,
      "weight_decay": 0.04,
      "final_weight_decay": 0.04,
      "teacher_momentum": 0.98,
      "final_teacher_momentum": 1.0,
      "teacher_temperature_warmup_steps": 100,
      "freeze_last_layer_steps": 10,
    }
  )
  config.data.canvas_px = 160
  config.data.num_threads = 1
  config.loop.update(
    {
      "log_every": 20,
      "checkpoint_every": 200,
      "monitor_every": 200,
      "monitor_films": 300,
      "linear_probe": True,
    }
  )
  return config
