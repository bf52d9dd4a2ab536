"""DINOv2 checkpoints: shape read off the arrays, other layouts refused."""

import dataclasses
import pathlib
import re

import checkpoint_writer as writer
import jax
import numpy as np
import pytest
import safetensors.numpy

from scan42_jax import paths
from scan42_jax.models.vit import VisionTransformer, ViTConfig
from scan42_jax.weights.dinov2 import from_dinov2
from scan42_jax.weights.dinov2_file import read_dinov2, write_dinov2
from scan42_jax.weights.torch_file import read_torch_file

CHUNKED = pathlib.Path(__file__).parent / "data" / "dinov2_reg4_chunked.pth"
EXPECTED = ViTConfig(
  width=64,
  depth=2,
  num_heads=1,
  patch_size=14,
  num_registers=4,
  image_size=42,
  position_offset=0.0,
  position_antialias=True,
)


def _state(**changes):
  """DINOv2's names without chunks, float32; None removes a name."""
  state = {
    re.sub(r"blocks\.\d+\.(\d+)", r"blocks.\1", name): value.astype("float32")
    for name, value in read_torch_file(CHUNKED).items()
  }
  state.update(changes)
  return {name: value for name, value in state.items() if value is not None}


def _prefixed(prefix, state):
  return {prefix + name: value for name, value in state.items()}


def _window(shape, offset):
  """The numbers of the file, see data/README.md."""
  numbers = (np.arange(6000) % 1021 / 1024).astype(np.float16)
  steps = [17 * i for i in range(len(shape) - 1, 0, -1)] + [1]
  index = sum(
    np.arange(n).reshape(-1, *[1] * (len(shape) - 1 - i)) * step
    for i, (n, step) in enumerate(zip(shape, steps, strict=True))
  )
  return numbers[offset + index]


def test_real_chunked_file():
  config, encoder, heads = read_dinov2(CHUNKED)
  assert config == EXPECTED
  assert heads == {}
  names = list(read_torch_file(CHUNKED))
  for path, name, shape in [
    ("registers", "register_tokens", (1, 4, 64)),
    ("position_embedding", "pos_embed", (1, 10, 64)),
    ("mask_token", "mask_token", (1, 64)),
    ("block_01/scale2/gamma", "blocks.1.1.ls2.gamma", (64,)),
    ("block_01/attn/qkv/kernel", "blocks.1.1.attn.qkv.weight", (192, 64)),
    ("block_00/mlp/fc2/kernel", "blocks.0.0.mlp.fc2.weight", (64, 256)),
  ]:
    expected = _window(shape, names.index(name))
    if name.endswith("weight"):
      expected = expected.T
    np.testing.assert_array_equal(
      encoder[path], expected.reshape(encoder[path].shape)
    )
  patch = _window((64, 3, 14, 14), names.index("patch_embed.proj.weight"))
  kernel = encoder["patch_embed/proj/kernel"].reshape(14, 14, 3, 64)
  np.testing.assert_array_equal(kernel[3, 5, 2], patch[:, 2, 3, 5])


def test_arrays_make_the_encoder_of_the_config():
  config, encoder, _ = read_dinov2(CHUNKED)
  image = np.zeros((1, 14, 14, 3), np.float32)
  tree = jax.eval_shape(
    VisionTransformer(config).init, jax.random.key(0), image
  )
  shapes = {k: v.shape for k, v in paths.flatten(tree["params"]).items()}
  assert shapes == {path: x.shape for path, x in encoder.items()}


@pytest.mark.parametrize("key", [None, "model"])
def test_released_backbone(tmp_path, key):
  content = {key: _state()} if key else _state()
  path = writer.write_checkpoint(tmp_path / "x.pth", content)
  config, encoder, heads = read_dinov2(path)
  assert config == EXPECTED and heads == {}
  assert "block_01/attn/qkv/kernel" in encoder


def test_backbone_without_registers(tmp_path):
  path = writer.write_checkpoint(
    tmp_path / "x.pth", _state(register_tokens=None)
  )
  config, encoder, _ = read_dinov2(path)
  assert config.num_registers == 0 and "registers" not in encoder
  assert (config.position_offset, config.position_antialias) == (0.1, False)


def test_swiglu_is_seen(tmp_path):
  state = {k: v for k, v in _state().items() if ".mlp." not in k}
  hidden = (int(4 * 64 * 2 / 3) + 7) // 8 * 8
  for i in range(2):
    state |= {
      f"blocks.{i}.mlp.w12.weight": np.zeros((2 * hidden, 64), np.float32),
      f"blocks.{i}.mlp.w12.bias": np.zeros(2 * hidden, np.float32),
      f"blocks.{i}.mlp.w3.weight": np.zeros((64, hidden), np.float32),
      f"blocks.{i}.mlp.w3.bias": np.zeros(64, np.float32),
    }
  path = writer.write_checkpoint(tmp_path / "x.pth", state)
  config, encoder, _ = read_dinov2(path)
  assert config.swiglu
  image = np.zeros((1, 14, 14, 3), np.float32)
  tree = jax.eval_shape(
    VisionTransformer(config).init, jax.random.key(0), image
  )
  shapes = {k: v.shape for k, v in paths.flatten(tree["params"]).items()}
  assert shapes == {path: x.shape for path, x in encoder.items()}


def _head(num_prototypes):
  shapes = {
    "mlp.0.weight": (32, 64),
    "mlp.0.bias": (32,),
    "mlp.2.weight": (8, 32),
    "mlp.2.bias": (8,),
    "last_layer.weight_g": (num_prototypes, 1),
    "last_layer.weight_v": (num_prototypes, 8),
  }
  generator = np.random.default_rng(num_prototypes)
  return {
    name: generator.normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }


@pytest.mark.parametrize("wrapper", ["", "module.", "_fsdp_wrapped_module."])
def test_training_checkpoint(tmp_path, wrapper):
  dino, ibot = _head(16), _head(24)
  teacher = {
    **_prefixed(f"backbone.{wrapper}", _state()),
    **_prefixed(f"dino_head.{wrapper}", dino),
    **_prefixed(f"{wrapper}ibot_head.", ibot),
  }
  path = writer.write_checkpoint(
    tmp_path / "teacher_checkpoint.pth", {"teacher": teacher, "iteration": 9}
  )
  config, encoder, heads = read_dinov2(path)
  # A position table is resized as in the training that made the file.
  assert (config.position_offset, config.position_antialias) == (0.1, False)
  assert config.num_registers == 4
  assert "block_01/mlp/fc1/kernel" in encoder
  for name, state in {"dino_head": dino, "ibot_head": ibot}.items():
    head = heads[name]
    np.testing.assert_array_equal(
      head["prototypes/direction"], state["last_layer.weight_v"].T
    )
    np.testing.assert_array_equal(
      head["prototypes/gain"], state["last_layer.weight_g"][:, 0]
    )
    np.testing.assert_array_equal(head["mlp_1/kernel"], state["mlp.2.weight"].T)


VALUE = np.zeros((2, 2), np.float32)


@pytest.mark.parametrize(
  "content, message",
  [
    ({}, "no parameters found"),
    ({"teacher": 3}, "no parameters found"),
    (
      {"conv1.weight": VALUE, "layer1.0.bn1.weight": VALUE},
      "'conv1.weight' belongs to no DINOv2 encoder or head",
    ),
    (
      {"model": {"backbone.conv1.weight": VALUE}},
      "no 'backbone.cls_token' found",
    ),
    ({"epoch": 3, "state_dict": {}}, "'epoch' holds int, not a tensor"),
    ({"model": {"a": {}}}, "'a' holds dict, not a tensor"),
    (
      {"model": {"teacher.backbone._fsdp_wrapped_module._flat_param": VALUE}},
      "sharded checkpoint of one process",
    ),
    (_state(**{"head.weight": VALUE}), "'head.weight' is not a parameter"),
    (_state(cls_token=VALUE[0, 0, ...]), "'cls_token' has shape ()"),
    (_state(cls_token=VALUE), "encoder/cls_token has shape (2,)"),
    (
      _state(cls_token=np.zeros((1, 1, 48), np.float32)),
      "width 48 is no multiple of 64",
    ),
    (
      _state(**{"patch_embed.proj.weight": VALUE}),
      "'patch_embed.proj.weight' has shape (2, 2)",
    ),
    (
      _state(pos_embed=np.zeros((1, 9, 64), np.float32)),
      "patches or position table are not square",
    ),
    (_state(pos_embed=None), "no array for our encoder/position_embedding"),
    (
      _state(**{"blocks.0.mlp.fc2.weight": None}),
      "no array for our encoder/block_00/mlp/fc2/kernel",
    ),
  ],
)
def test_other_layouts_are_refused(tmp_path, content, message):
  path = writer.write_checkpoint(tmp_path / "x.pth", content)
  with pytest.raises(ValueError) as caught:
    read_dinov2(path)
  line = str(caught.value)
  assert line.startswith(f"{path}: ") and "\n" not in line
  assert message in line
  assert "accepted: a DINOv2 backbone, or a training checkpoint" in line


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_safetensors_are_read_like_a_pth(tmp_path, prefix):
  path = tmp_path / "x.safetensors"
  safetensors.numpy.save_file(_prefixed(prefix, _state()), path)
  config, encoder, heads = read_dinov2(path)
  resize = (0.0, True) if prefix == "" else (0.1, False)
  assert (config.position_offset, config.position_antialias) == resize
  assert config.width == 64 and heads == {}
  np.testing.assert_array_equal(encoder["cls_token"], _state()["cls_token"][0])


def test_written_file_says_what_arrays_cannot(tmp_path):
  config, encoder, _ = read_dinov2(CHUNKED)
  config = dataclasses.replace(config, num_heads=4, position_offset=0.25)
  head = from_dinov2(_head(16))
  path = tmp_path / "x.safetensors"
  write_dinov2(path, config, {"encoder": encoder, "dino_head": head})
  read_config, read_encoder, heads = read_dinov2(path)
  assert read_config == config
  assert heads.keys() == {"dino_head"}
  for ours, back in [(encoder, read_encoder), (head, heads["dino_head"])]:
    assert ours.keys() == back.keys()
    for name, value in ours.items():
      np.testing.assert_array_equal(back[name], value)
  names = set(safetensors.numpy.load_file(path))
  assert {"backbone.cls_token", "dino_head.last_layer.weight_v"} <= names


@pytest.mark.parametrize(
  "stated",
  ["{", "3", '{"num_heads": "4"}', '{"num_heads": 4}'],
)
def test_damaged_metadata_is_refused(tmp_path, stated):
  path = tmp_path / "x.safetensors"
  safetensors.numpy.save_file(_state(), path, {"scan42": stated})
  with pytest.raises(ValueError) as caught:
    read_dinov2(path)
  assert str(caught.value) == f"{path}: its metadata 'scan42' is damaged"


def test_heads_that_do_not_divide_the_width_are_refused(tmp_path):
  config, encoder, _ = read_dinov2(CHUNKED)
  path = tmp_path / "x.safetensors"
  write_dinov2(
    path, dataclasses.replace(config, num_heads=5), {"encoder": encoder}
  )
  with pytest.raises(ValueError, match="width 64 does not divide by 5 heads"):
    read_dinov2(path)


def test_hugging_face_names_ask_for_their_folder(tmp_path):
  path = tmp_path / "model.safetensors"
  safetensors.numpy.save_file({"embeddings.cls_token": VALUE}, path)
  with pytest.raises(ValueError, match="name the folder that holds the file"):
    read_dinov2(path)
