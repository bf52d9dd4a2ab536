"""ConfigDicts: the face that users see of the settings.

A config file starts from `default_config()` and overrides fields;
`from_config` turns it once into frozen dataclasses, and nothing below the loop
sees a ConfigDict.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import ml_collections
from ml_collections import config_dict

from scan42_jax.settings import Settings, build, check


def default_config() -> ml_collections.ConfigDict:
  """Returns the defaults as a locked ConfigDict."""
  return ml_collections.ConfigDict(_as_dict(Settings())).lock()


def _as_dict(value: Any) -> Any:
  """Nested dicts; None becomes a placeholder that flags can fill."""
  if dataclasses.is_dataclass(value):
    return {
      f.name: _as_dict(getattr(value, f.name))
      for f in dataclasses.fields(value)
    }
  return config_dict.placeholder(int) if value is None else value


def apply_preset(
  config: ml_collections.ConfigDict, preset: str
) -> ml_collections.ConfigDict:
  """Returns the config as it is for 'default', with the bugs for 'reference'.

  Raises:
    ValueError: another preset.
  """
  if preset == "reference":
    repeat_published_run(config)
  elif preset != "default":
    raise ValueError(f"preset {preset!r} is not 'default' or 'reference'")
  return config


def repeat_published_run(config: ml_collections.ConfigDict) -> None:
  """Turns a config into the published run, its bugs included.

  - The blur wrapper passed on 1 - p: probabilities 0, 0.9 and 0.5.
  - Operator precedence capped mask blocks at 666 patches instead of half of
    the grid.
  - The iBOT centre averaged the means of devices instead of all masked patches.
  - The learning rate's batch scaling was switched off by accident.

  The run accumulated over one batch only. Its accumulation (loss not divided,
  schedules and centres moving with every micro-batch) is not repeated:
  `from_config` refuses more than one micro-batch here.
  """
  config.crops.blur_probability = (0.0, 0.9, 0.5)
  patch, size = config.model.patch_size, config.crops.global_size_px
  config.masks.max_patches = int(0.5 * size // patch * size // patch)
  config.objective.ibot_center = "groups"
  config.schedule.learning_rate_scaling = "none"


def from_config(config: ml_collections.ConfigDict) -> Settings:
  """Builds and checks the settings of a run.

  Raises:
    ValueError: one line that names the field and the fix.
  """
  settings = build(Settings, config, "config")
  # The position table is built for the global crop, as in DINOv2.
  model = dataclasses.replace(
    settings.model, image_size=settings.crops.global_size_px
  )
  settings = dataclasses.replace(settings, model=model)
  check(settings)
  return settings
