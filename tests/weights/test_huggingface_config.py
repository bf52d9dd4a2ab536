"""config.json: written as read, and our own file beside it."""

import dataclasses
import json

import pytest

from scan42_jax.models.vit import ViTConfig
from scan42_jax.weights.huggingface_config import (
  OWN_FILE,
  config_json,
  read_config,
  resize_json,
)

REGISTERS = ViTConfig(
  width=16,
  depth=3,
  num_heads=2,
  patch_size=4,
  image_size=12,
  drop_path=0.1,
  position_offset=0.0,
  position_antialias=True,
)
PLAIN = dataclasses.replace(
  REGISTERS, num_registers=0, position_antialias=False, swiglu=True
)


def _write(folder, config, own=None):
  (folder / "config.json").write_text(json.dumps(config_json(config)))
  if own is not None:
    (folder / OWN_FILE).write_text(json.dumps(own))


@pytest.mark.parametrize("config", [REGISTERS, PLAIN])
def test_written_as_read(tmp_path, config):
  _write(tmp_path, config)
  assert read_config(tmp_path) == config


@pytest.mark.parametrize("config", [REGISTERS, PLAIN])
def test_resize_of_training_comes_back(tmp_path, config):
  trained = dataclasses.replace(
    config, position_offset=0.1, position_antialias=False
  )
  _write(tmp_path, trained, {"position_embedding_resize": resize_json(trained)})
  assert read_config(tmp_path) == trained


@pytest.mark.parametrize(
  "own",
  [
    {},
    {"position_embedding_resize": {"offset": 0.1}},
    {"position_embedding_resize": {"offset": "0.1", "antialias": False}},
    {"position_embedding_resize": [0.1, False]},
  ],
)
def test_damaged_own_file_is_refused(tmp_path, own):
  _write(tmp_path, PLAIN, own)
  with pytest.raises(ValueError) as caught:
    read_config(tmp_path)
  line = str(caught.value)
  assert line.startswith(f"{tmp_path / OWN_FILE}: no position_embedding_resize")
  assert "\n" not in line


def test_ratio_of_the_same_hidden_channels_is_written():
  # What a .pth tells: (int(2 / 3 * 4 * 16) + 7) // 8 * 8 = 48 of 16 channels.
  config = dataclasses.replace(PLAIN, mlp_ratio=48 * 1.5 / 16)
  assert config_json(config)["mlp_ratio"] == 4


def test_ratio_that_transformers_lacks_is_refused():
  with pytest.raises(ValueError, match=r"mlp_ratio 2\.5 is not whole"):
    config_json(dataclasses.replace(REGISTERS, mlp_ratio=2.5))
