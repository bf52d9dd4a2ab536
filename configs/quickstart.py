"""The whole chain on phantom films, in minutes on two CPU cores.

  python -m scan42_jax.main --config=configs/quickstart.py --workdir=W

Makes the phantom films, pretrains a tiny encoder from scratch, and compares a
linear probe on it with one on the encoder it started from.
"""

import ml_collections

from scan42_jax.config import default_config


def get_config() -> ml_collections.ConfigDict:
  """Returns the recipe of a run from scratch on little data."""
  config = default_config()
  config.batch_size = 32
  config.dtype = "float32"  # CPUs have no fast bfloat16.
  config.model.update({"width": 96, "depth": 3, "num_heads": 3})
  config.model.update({"patch_size": 16, "layer_scale": 1.0})
  for head in (config.dino_head, config.ibot_head):
    head.update({"num_prototypes": 64, "hidden_dim": 256, "bottleneck_dim": 64})
  # A few hundred steps are too few to learn what hard augmentation leaves.
  config.crops.update(
    {
      "global_size_px": 112,
      "local_size_px": 48,
      "num_local": 2,
      "global_scale": (0.5, 1.0),
      "local_scale": (0.15, 0.5),
      "affine": False,
      "brightness": 0.1,
      "contrast": 0.1,
      "blur_probability": (0.0, 0.0, 0.0),
      "solarize_probability": 0.0,
    }
  )
  config.masks.group_images = 32
  # Centring needs thousands of steps to leave uniform targets behind.
  config.objective.teacher = "sinkhorn_knopp"
  config.objective.koleo_group = 32
  config.optimizer.patch_embed_multiplier = 1.0
  config.schedule.update(
    {
      "total_steps": 700,
      "learning_rate": 3e-3,
      "learning_rate_scaling": "none",
      "warmup_steps": 70,
      "weight_decay": 0.04,
      "final_weight_decay": 0.04,
      "teacher_momentum": 0.9,
      "final_teacher_momentum": 0.9,
      "initial_teacher_temperature": 0.02,
      "teacher_temperature": 0.02,
      "teacher_temperature_warmup_steps": 1,
      "freeze_last_layer_steps": 35,
    }
  )
  config.data.canvas_px = 160
  config.data.equalize = False
  config.data.num_threads = 1
  config.loop.update(
    {
      "log_every": 50,
      "checkpoint_every": 350,
      "monitor_every": 350,
      "monitor_films": 300,
      "report_films": 4,  # Drawn films are nobody's.
      "linear_probe": True,
    }
  )
  return config
