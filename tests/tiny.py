"""A whole run in small: settings, films and a compiled step."""

import jax
import numpy as np

from scan42_jax.config import default_config, from_config
from scan42_jax.settings import Settings
from scan42_jax.types import Films


def config(**fields):
  """Returns a config that compiles in seconds; fields as 'a.b'."""
  config = default_config()
  config.batch_size = 8
  config.dtype = "float32"
  config.model.update({"width": 32, "depth": 2, "num_heads": 2})
  config.model.layer_scale = 0.5
  for head in (config.dino_head, config.ibot_head):
    head.update({"num_prototypes": 64, "hidden_dim": 48, "bottleneck_dim": 16})
  config.crops.global_size_px = 56
  config.crops.local_size_px = 28
  config.crops.num_local = 2
  config.masks.group_images = 2
  config.objective.koleo_group = 2
  config.schedule.update(
    {
      "total_steps": 8,
      "warmup_steps": 2,
      "teacher_temperature_warmup_steps": 4,
      "freeze_last_layer_steps": 1,
      "teacher_momentum": 0.9,
    }
  )
  config.data.canvas_px = 64
  config.loop.update({"log_every": 1, "checkpoint_every": 4})
  config.loop.monitor_every = 0
  config.update_from_flattened_dict(fields)
  return config


def settings(**fields) -> Settings:
  """Returns checked settings of such a config."""
  return from_config(config(**fields))


def films(s: Settings, *, step: int = 0) -> Films:
  """Returns random films of one step."""
  rng = np.random.default_rng(step)
  size, side = s.batch_size, s.data.canvas_px
  shape = (size, side, side)
  return Films(
    pixels=rng.integers(0, 256, shape).astype(np.uint8),
    height=np.full(size, side, np.int32),
    width=np.full(size, side - 4, np.int32),
    index=(step * size + np.arange(size)).astype(np.int32),
  )


def single_device_mesh():
  """Returns a mesh of one device."""
  from scan42_jax.sharding import make_mesh

  return make_mesh((1, 1, 1), jax.devices()[:1])
