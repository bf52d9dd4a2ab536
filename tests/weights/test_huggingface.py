"""Hugging Face folders: transformers' numbers, and wrong folders refused."""

import json
import shutil

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from scan42_jax import paths
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.weights.huggingface import read_huggingface, to_huggingface
from scan42_jax.weights.huggingface_config import config_json

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}
FOLDERS = [
  "hf_dinov2",
  "hf_dinov2_with_registers",
  "hf_dinov2_with_registers_swiglu",
]
CONFIG = {
  "model_type": "dinov2",
  "hidden_size": 8,
  "num_attention_heads": 2,
  "num_hidden_layers": 1,
  "image_size": 8,
  "patch_size": 4,
}


def _encoder(folder):
  config, arrays = read_huggingface(folder)
  params = {"params": paths.unflatten(arrays)}
  net = VisionTransformer(config)

  def encode(images, mask=None, **kwargs):
    # One compiled function is ready sooner than each of its operations.
    apply = jax.jit(lambda params, x: net.apply(params, x, mask, **kwargs))
    return apply(params, golden_files.channels_last(images))

  return config, encode


def _tokens(output):
  parts = [output.cls[:, None], output.registers, output.patches]
  return np.asarray(jnp.concatenate(parts, axis=1))


@pytest.mark.parametrize("name", FOLDERS)
def test_golden_tokens_at_every_size(golden_file, name):
  folder = golden_file(name)
  arrays, _ = golden_files.load(folder / "io.npz")
  _, encode = _encoder(folder)
  images = golden_files.strip(arrays, "in/pixel_values_")
  assert len(images) > 1
  for size, pixels in images.items():
    (output,) = encode(pixels)
    np.testing.assert_allclose(
      _tokens(output), arrays[f"out/{size}/last_hidden_state"], **TOLERANCE
    )
    np.testing.assert_allclose(
      output.cls, arrays[f"out/{size}/pooler_output"], **TOLERANCE
    )


@pytest.mark.parametrize("name", FOLDERS)
def test_golden_masked_tokens(golden_file, name):
  folder = golden_file(name)
  arrays, _ = golden_files.load(folder / "io.npz")
  _, encode = _encoder(folder)
  sizes = [k.split("/")[1] for k in arrays if "/masked/last_hidden" in k]
  assert sizes
  for size in sizes:
    pixels = arrays[f"in/pixel_values_{size}"]
    (output,) = encode(pixels, jnp.asarray(arrays["in/bool_masked_pos"]))
    np.testing.assert_allclose(
      _tokens(output),
      arrays[f"out/{size}/masked/last_hidden_state"],
      **TOLERANCE,
    )


@pytest.mark.parametrize("name", FOLDERS)
def test_golden_blocks_before_the_final_norm(golden_file, name):
  folder = golden_file(name)
  arrays, _ = golden_files.load(folder / "io.npz")
  config, encode = _encoder(folder)
  sizes = {k.split("/")[1] for k in arrays if "/hidden_states_" in k}
  assert sizes
  for size in sizes:
    outputs = encode(
      arrays[f"in/pixel_values_{size}"], layers=range(config.depth), norm=False
    )
    for i, output in enumerate(outputs, start=1):
      np.testing.assert_allclose(
        _tokens(output), arrays[f"out/{size}/hidden_states_{i}"], **TOLERANCE
      )


@pytest.mark.parametrize("name", FOLDERS)
def test_golden_config_is_the_folders(golden_file, name):
  folder = golden_file(name)
  theirs = json.loads((folder / "config.json").read_text())
  config, _ = read_huggingface(folder)
  assert config.width == theirs["hidden_size"]
  assert config.depth == theirs["num_hidden_layers"]
  assert config.num_heads == theirs["num_attention_heads"]
  assert config.num_registers == theirs.get("num_register_tokens", 0)
  assert config.image_size == theirs["image_size"]
  assert config.swiglu == theirs["use_swiglu_ffn"]
  assert config.position_offset == 0
  assert config.position_antialias == ("registers" in theirs["model_type"])


def _copy(golden_file, tmp_path):
  for file in golden_file("hf_dinov2").iterdir():
    shutil.copyfile(file, tmp_path / file.name)
  return tmp_path


def test_golden_shards_are_joined(golden_file, tmp_path):
  folder = _copy(golden_file, tmp_path)
  _, whole = read_huggingface(folder)
  state = safetensors.numpy.load_file(folder / "model.safetensors")
  (folder / "model.safetensors").unlink()
  weight_map = {}
  for i, name in enumerate(state):
    weight_map[name] = f"model-{i % 2}.safetensors"
  for file in set(weight_map.values()):
    part = {k: v for k, v in state.items() if weight_map[k] == file}
    safetensors.numpy.save_file(part, folder / file)
  index = folder / "model.safetensors.index.json"
  index.write_text(json.dumps({"weight_map": weight_map}))
  _, joined = read_huggingface(folder)
  assert joined.keys() == whole.keys()
  for path, value in whole.items():
    np.testing.assert_array_equal(joined[path], value)

  index.write_text(json.dumps({"weight_map": {"x": "../other.safetensors"}}))
  with pytest.raises(FileNotFoundError, match="which is not there"):
    read_huggingface(folder)


def test_golden_truncated_weights_are_refused(golden_file, tmp_path):
  folder = _copy(golden_file, tmp_path)
  file = folder / "model.safetensors"
  whole = file.read_bytes()
  for size in (0, 7, 100, len(whole) - 1):
    file.write_bytes(whole[:size])
    _refused(ValueError, folder, f"{file}: damaged safetensors file")


def _refused(kind, folder, start):
  with pytest.raises(kind) as caught:
    read_huggingface(folder)
  assert str(caught.value).startswith(start)
  assert "\n" not in str(caught.value)


def _write(folder, state=None, **changes):
  (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
  if state is not None:
    safetensors.numpy.save_file(state, folder / "model.safetensors")


def test_folder_without_config_is_refused(tmp_path):
  _refused(FileNotFoundError, tmp_path, f"{tmp_path}: no config.json")


def test_folder_without_weights_is_refused(tmp_path):
  _write(tmp_path)
  (tmp_path / "pytorch_model.bin").touch()
  _refused(FileNotFoundError, tmp_path, f"{tmp_path}: no model.safetensors")


@pytest.mark.parametrize(
  "changes, message",
  [
    (
      {"model_type": "bert"},
      "model_type is 'bert'; accepted: dinov2, dinov2_with_registers",
    ),
    ({"hidden_act": "relu"}, "hidden_act is 'relu'; only 'gelu'"),
    ({"qkv_bias": False}, "qkv_bias is False; only True"),
    ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05; only 1e-06"),
    ({"num_channels": 1}, "num_channels is 1; only 3"),
    ({"hidden_size": "8"}, "hidden_size must be a positive integer, not '8'"),
    ({"hidden_size": 9}, "hidden_size 9 does not divide by 2 heads"),
    ({"patch_size": 0}, "patch_size must be a positive integer, not 0"),
    ({"mlp_ratio": None}, "mlp_ratio must be a positive number, not None"),
    (
      {"model_type": "dinov2_with_registers"},
      "num_register_tokens must be a positive integer, not None",
    ),
  ],
)
def test_other_configs_are_refused(tmp_path, changes, message):
  _write(tmp_path, {}, **changes)
  _refused(ValueError, tmp_path, f"{tmp_path / 'config.json'}: {message}")


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_config_that_is_no_json_object_is_refused(tmp_path, text):
  (tmp_path / "config.json").write_text(text, encoding="latin-1")
  _refused(ValueError, tmp_path, f"{tmp_path / 'config.json'}: not ")


BROKEN = "its parameters do not make one encoder"


@pytest.mark.parametrize(
  "state, fault",
  [
    (
      {"bert.embeddings.word_embeddings.weight": np.zeros(3)},
      "'bert.embeddings.word_embeddings.weight' is no parameter",
    ),
    (
      {"encoder.layer.0.attention.attention.query.bias": np.zeros(8)},
      "'blocks.0.attn.query.bias', its key and its value have shapes (8,),"
      " absent, absent",
    ),
    ({"embeddings.cls_token": np.array(1.0)}, "'cls_token' has shape ()"),
  ],
)
def test_other_layouts_are_refused(tmp_path, state, fault):
  _write(tmp_path, state)
  _refused(ValueError, tmp_path, f"{tmp_path}: {BROKEN}: {fault}")


def test_golden_folder_lists_all_that_is_wrong(golden_file, tmp_path):
  source = golden_file("hf_dinov2")
  shutil.copy(source / "config.json", tmp_path)
  state = safetensors.numpy.load_file(source / "model.safetensors")
  width = state["layernorm.weight"].shape[0]
  state["classifier.weight"] = np.zeros((2, width), np.float32)
  del state["layernorm.bias"]
  state["encoder.layer.0.norm1.weight"] = np.ones(width + 1, np.float32)
  state["encoder.layer.0.mlp.fc1.bias"][3] = np.nan
  state["embeddings.patch_embeddings.projection.bias"][0] = np.inf
  safetensors.numpy.save_file(state, tmp_path / "model.safetensors")
  with pytest.raises(ValueError) as caught:
    read_huggingface(tmp_path)
  assert str(caught.value) == f"{tmp_path}: {BROKEN}: " + "; ".join(
    [
      "'classifier.weight' is no parameter of a dinov2 or"
      " dinov2_with_registers encoder",
      f"encoder/block_00/norm1/scale is ({width + 1},) in the file and should"
      f" be ({width},)",
      f"encoder/norm/bias is absent in the file and should be ({width},)",
      "encoder/block_00/mlp/fc1/bias holds NaN or Inf",
      "encoder/patch_embed/proj/bias holds NaN or Inf",
    ]
  )


@pytest.mark.parametrize("name", FOLDERS)
def test_golden_folder_there_and_back(golden_file, name):
  folder = golden_file(name)
  config, arrays = read_huggingface(folder)
  state = safetensors.numpy.load_file(folder / "model.safetensors")
  back = to_huggingface(arrays)
  assert back.keys() == state.keys()
  for key, value in state.items():
    np.testing.assert_array_equal(back[key], value)
  theirs = json.loads((folder / "config.json").read_text())
  for key, value in config_json(config).items():
    if key != "torch_dtype":
      assert theirs[key] == value, key


def test_only_an_encoder_is_renamed():
  with pytest.raises(KeyError, match="is no parameter of an encoder"):
    to_huggingface({"prototypes/gain": np.zeros(3)})
