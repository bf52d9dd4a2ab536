"""Settings: presets, ranges, and one clear line for each mistake."""

import importlib.util
import json
import math
import pathlib

import pytest
import tiny

from scan42_jax import config as config_lib
from scan42_jax import settings as settings_lib
from scan42_jax.models.vit import ViTConfig

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
PRESET_CONFIGS = ["vits", "vitb", "vitl"]


def load_config(name, *args):
  """Runs get_config of a file in configs/."""
  spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(*args)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=str)
def test_every_config_resolves_and_opens_with_its_command(path):
  settings = config_lib.from_config(load_config(path.stem))
  assert settings_lib.from_json(settings_lib.to_json(settings)) == settings
  json.dumps(settings_lib.to_json(settings))
  command = f"python -m scan42_jax.main --config=configs/{path.name}"
  assert command in path.read_text().split('"""')[1]


@pytest.mark.parametrize("name", PRESET_CONFIGS)
def test_reference_preset_differs_where_the_published_run_had_bugs(name):
  fixed = config_lib.from_config(load_config(name))
  published = config_lib.from_config(load_config(name, "reference"))
  assert published.crops.blur_probability == (0.0, 0.9, 0.5)
  assert fixed.crops.blur_probability == (1.0, 0.1, 0.5)
  assert published.masks.max_patches == 666
  assert published.objective.ibot_center == "groups"
  assert published.schedules().learning_rate.base == 3e-4
  # Nothing else differs.
  undone = settings_lib.to_json(published)
  for section, field in [
    ("crops", "blur_probability"),
    ("masks", "max_patches"),
    ("objective", "ibot_center"),
    ("schedule", "learning_rate_scaling"),
  ]:
    undone[section][field] = settings_lib.to_json(fixed)[section][field]
  assert undone == settings_lib.to_json(fixed)


def test_an_unknown_preset_is_refused():
  with pytest.raises(ValueError, match="'default' or 'reference'"):
    load_config("vitb", "published")


def test_published_recipe():
  s = config_lib.from_config(load_config("vits"))
  assert (s.model.width, s.model.depth, s.model.num_heads) == (384, 12, 6)
  assert s.model.num_registers == 4
  assert s.dino_head.num_prototypes == s.ibot_head.num_prototypes == 16384
  assert (s.dino_head.bottleneck_dim, s.ibot_head.bottleneck_dim) == (384, 256)
  assert (s.crops.global_size_px, s.crops.local_size_px) == (518, 98)
  assert s.crops.num_local == 8
  assert s.schedule.total_steps == 100 * 611
  base = config_lib.from_config(load_config("vitb"))
  assert base.dino_head.num_prototypes == 131072


def test_learning_rate_scales_with_the_root_of_the_batch():
  s = tiny.settings(batch_size=256, **{"schedule.learning_rate": 1e-3})
  assert s.schedules().learning_rate.base == pytest.approx(5e-4)


MISTAKES = [
  ({"batch_size": 0}, "config.batch_size=0"),
  ({"accumulation_steps": 3}, "does not divide into config.accumulation"),
  ({"masks.group_images": 3}, "config.masks.group_images=3 does not divide"),
  ({"objective.koleo_group": 5}, "config.objective.koleo_group=5 does not"),
  ({"objective.koleo_group": 1}, "at least 2"),
  (
    {"crops.global_size_px": 60},
    "config.crops.global_size_px=60 is not a mult",
  ),
  ({"crops.local_size_px": 30}, "config.crops.local_size_px=30 is not a mult"),
  ({"model.num_heads": 3}, "does not divide into config.model.num_heads=3"),
  ({"masks.ratio": (0.0, 0.0)}, "leaves no patch to mask"),
  ({"objective.teacher": "centering"}, "config.objective.teacher='centering'"),
  ({"dtype": "float16"}, "config.dtype='float16' is not one of"),
  ({"data.datasets": ()}, "config.data.datasets is empty"),
  (
    {"data.weights": (1, 2)},
    "config.data.weights=(1, 2) must be a whole number",
  ),
  ({"data.weights": (0.5,)}, "config.data.weights=(0.5,) must be"),
  ({"schedule.total_steps": 0}, "config.schedule.total_steps=0"),
  ({"loop.log_every": 0}, "config.loop.log_every=0"),
  (
    {"accumulation_steps": 2, "objective.ibot_center": "groups"},
    "config.accumulation_steps must be 1",
  ),
]


@pytest.mark.parametrize("fields, message", MISTAKES)
def test_a_mistake_is_named_in_one_line(fields, message):
  with pytest.raises(ValueError) as error:
    tiny.settings(**fields)
  assert message in str(error.value)
  assert "\n" not in str(error.value)


def test_an_unknown_field_names_the_known_ones():
  config = tiny.config()
  with config.unlocked():
    config.crops.size = 3
  with pytest.raises(ValueError, match=r"config\.crops\.size is unknown"):
    config_lib.from_config(config)


def test_encoder_of_a_file_replaces_the_configured_shape():
  encoder = ViTConfig(width=48, depth=3, num_heads=4, num_registers=0)
  adopted = settings_lib.adopt_encoder(tiny.settings(), encoder)
  assert (adopted.model.width, adopted.model.depth) == (48, 3)
  assert (
    adopted.model.num_registers == 4
  )  # The file has none: keep the config's.
  other = settings_lib.adopt_encoder(
    tiny.settings(), ViTConfig(width=48, depth=3, num_heads=4, num_registers=8)
  )
  assert other.model.num_registers == 8


def test_grid_counts_patches():
  s = tiny.settings()
  assert math.prod(s.grid) == 16
