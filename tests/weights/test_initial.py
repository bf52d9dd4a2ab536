"""Weights on disk: every kind of source in its own layout, others refused."""

import json
import pathlib
import shutil

import checkpoint_writer as writer
import numpy as np
import pytest
import safetensors.numpy
import stored_run

from scan42_jax import paths
from scan42_jax.models.vit import ViTConfig
from scan42_jax.weights.dinov2 import to_dinov2
from scan42_jax.weights.expected import encoder_shapes
from scan42_jax.weights.huggingface import to_huggingface
from scan42_jax.weights.huggingface_config import config_json
from scan42_jax.weights.initial import load_initial
from scan42_jax.weights.preprocessing import Preprocessing
from scan42_jax.weights.torch_file import read_torch_file

CHUNKED = pathlib.Path(__file__).parent / "data" / "dinov2_reg4_chunked.pth"
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
RAD_DINO = {"mean": (0.5307,) * 3, "std": (0.2583,) * 3}
BIT_PROCESSOR = {
  "crop_size": {"height": 42, "width": 42},
  "do_center_crop": True,
  "do_convert_rgb": True,
  "do_normalize": True,
  "do_rescale": True,
  "do_resize": True,
  "resample": 3,
  "rescale_factor": 0.00392156862745098,
  "size": {"shortest_edge": 42},
}


def _config(**changes):
  shape = {
    "width": 64,
    "depth": 2,
    "num_heads": 1,
    "image_size": 42,
    "num_registers": 4,
    "position_offset": 0.0,
    "position_antialias": True,
  }
  return ViTConfig(**shape | changes)


def _encoder(config):
  generator = np.random.default_rng(0)
  return {
    path: generator.normal(size=shape).astype(np.float32)
    for path, shape in encoder_shapes(config).items()
  }


def _head():
  """A DINO head by DINOv2's names; its arrays by ours are known apart."""
  shapes = {
    "mlp.0.weight": (32, 64),
    "mlp.0.bias": (32,),
    "mlp.2.weight": (16, 32),
    "mlp.2.bias": (16,),
    "mlp.4.weight": (8, 16),
    "mlp.4.bias": (8,),
    "last_layer.weight_g": (24, 1),
    "last_layer.weight_v": (24, 8),
  }
  generator = np.random.default_rng(1)
  return {
    name: generator.normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }


def _prefixed(prefix, state):
  return {prefix + name: value for name, value in state.items()}


def _save(arrays, path):
  arrays = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
  safetensors.numpy.save_file(arrays, path)


def _write_huggingface(folder, config, encoder, processor=None):
  folder.mkdir(parents=True, exist_ok=True)
  _save(to_huggingface(encoder), folder / "model.safetensors")
  (folder / "config.json").write_text(json.dumps(config_json(config)))
  if processor:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(processor))
  return folder


def _assert_equal(found, expected):
  assert found.keys() == expected.keys()
  for path, value in expected.items():
    np.testing.assert_array_equal(found[path], value)
    assert found[path].dtype == np.float32


def test_golden_folder(golden_file):
  folder = golden_file("hf_dinov2")
  initial = load_initial(folder)
  assert initial.heads == {} and initial.source == str(folder)
  state = safetensors.numpy.load_file(folder / "model.safetensors")
  _assert_equal(
    {
      k: np.ascontiguousarray(v)
      for k, v in to_huggingface(initial.encoder).items()
    },
    state,
  )


def test_released_folder_without_a_processor(tmp_path):
  config = _config(num_registers=0, position_antialias=False)
  encoder = _encoder(config)
  initial = load_initial(_write_huggingface(tmp_path, config, encoder))
  assert initial.config == config
  _assert_equal(initial.encoder, encoder)
  assert initial.preprocessing == Preprocessing(256, 224, **IMAGENET)
  assert "none is stored" in initial.preprocessing_origin


def test_cxformer_release(tmp_path):
  config = _config()
  encoder = _encoder(config)
  processor = {
    **BIT_PROCESSOR,
    "auto_map": {
      "AutoImageProcessor": "custom_processor.CustomBitImageProcessor"
    },
    "image_mean": list(IMAGENET["mean"]),
    "image_processor_type": "CustomBitImageProcessor",
    "image_std": list(IMAGENET["std"]),
  }
  _write_huggingface(tmp_path, config, encoder, processor)
  code = "raise SystemExit('this code must not run')"
  (tmp_path / "custom_processor.py").write_text(code)
  initial = load_initial(tmp_path)
  assert initial.config == config and initial.heads == {}
  _assert_equal(initial.encoder, encoder)
  assert initial.preprocessing == Preprocessing(
    42, 42, **IMAGENET, equalize=True
  )
  assert initial.preprocessing_origin == "stored with the weights"


@pytest.fixture
def rad_dino(tmp_path):
  """RAD-DINO's release, both layouts of its backbone, without registers."""
  config = _config(num_registers=0, position_antialias=False)
  encoder = _encoder(config)
  processor = {
    **BIT_PROCESSOR,
    "image_mean": list(RAD_DINO["mean"]),
    "image_processor_type": "BitImageProcessor",
    "image_std": list(RAD_DINO["std"]),
  }
  folder = _write_huggingface(tmp_path / "rad", config, encoder, processor)
  _save(to_dinov2(encoder), folder / "backbone_compatible.safetensors")
  _save(_head(), folder / "dino_head.safetensors")
  return folder, encoder


def _assert_head(head):
  state = _head()
  np.testing.assert_array_equal(head["mlp_2/kernel"], state["mlp.4.weight"].T)
  np.testing.assert_array_equal(
    head["prototypes/direction"], state["last_layer.weight_v"].T
  )
  assert len(head) == len(state)


@pytest.mark.parametrize("name", ["", "backbone_compatible.safetensors"])
def test_rad_dino_release_with_its_head(rad_dino, name):
  folder, encoder = rad_dino
  initial = load_initial(folder / name)
  _assert_equal(initial.encoder, encoder)
  assert initial.heads.keys() == {"dino_head"}
  _assert_head(initial.heads["dino_head"])
  assert initial.preprocessing == Preprocessing(42, 42, **RAD_DINO)
  assert initial.preprocessing_origin == "stored with the weights"
  # The two layouts resize their position tables in two ways.
  assert initial.config.position_offset == (0.1 if name else 0.0)


def test_rad_dino_files_alone(rad_dino):
  folder, encoder = rad_dino
  for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
    (folder / name).unlink()
  initial = load_initial(folder)
  _assert_equal(initial.encoder, encoder)
  _assert_head(initial.heads["dino_head"])
  assert initial.preprocessing == Preprocessing(518, 518, **RAD_DINO)
  assert "RAD-DINO" in initial.preprocessing_origin


def test_cxformer_training_checkpoint(tmp_path):
  encoder = _encoder(_config())
  teacher = {
    **_prefixed("backbone.", to_dinov2(encoder)),
    **_prefixed("dino_head.", _head()),
    **_prefixed("ibot_head.", _head()),
  }
  path = writer.write_checkpoint(
    tmp_path / "teacher_checkpoint.pth",
    {"teacher": {k: np.ascontiguousarray(v) for k, v in teacher.items()}},
  )
  initial = load_initial(path)
  _assert_equal(initial.encoder, encoder)
  assert initial.heads.keys() == {"dino_head", "ibot_head"}
  _assert_head(initial.heads["ibot_head"])
  assert initial.preprocessing == Preprocessing(
    42, 42, **IMAGENET, equalize=True
  )
  assert "CXformer" in initial.preprocessing_origin


def test_official_backbone():
  initial = load_initial(CHUNKED)
  assert initial.source == str(CHUNKED)
  assert initial.config.width == 64 and initial.config.num_registers == 4
  assert {x.dtype for x in initial.encoder.values()} == {np.dtype("float32")}
  np.testing.assert_array_equal(
    initial.encoder["cls_token"],
    read_torch_file(CHUNKED)["cls_token"][0].astype(np.float32),
  )
  assert initial.preprocessing == Preprocessing(256, 224, **IMAGENET)
  assert "DINOv2" in initial.preprocessing_origin


def test_work_folder(tmp_path):
  changes = {"data.equalize": True, "crops.mean": (0.5, 0.25, 0.75)}
  settings = stored_run.write_run(tmp_path, **changes)
  initial = load_initial(tmp_path)
  teacher = stored_run.random_networks(settings, 8)
  assert initial.config == settings.model
  _assert_equal(initial.encoder, paths.flatten(teacher["encoder"]))
  assert initial.heads.keys() == teacher.keys() - {"encoder"}
  assert initial.preprocessing == Preprocessing(
    resize_px=settings.crops.global_size_px,
    squash=True,
    mean=(0.5, 0.25, 0.75),
    std=settings.crops.std,
    equalize=True,
  )


def _cache(monkeypatch, folder, model_id="org/name", revision="0123abc"):
  """Lays a model out as huggingface_hub does; returns its snapshot folder."""
  for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
    monkeypatch.delenv(name, raising=False)
  model = folder / f"models--{model_id.replace('/', '--')}"
  (model / "refs").mkdir(parents=True)
  (model / "refs" / "main").write_text(revision)
  return model / "snapshots" / revision


def test_one_checkpoint_of_a_work_folder(tmp_path):
  settings = stored_run.write_run(tmp_path)
  initial = load_initial(tmp_path / "checkpoints" / "4")
  teacher = stored_run.random_networks(settings, 4)
  ours = initial.encoder["cls_token"]
  np.testing.assert_array_equal(ours, teacher["encoder"]["cls_token"])
  with pytest.raises(FileNotFoundError, match="5"):
    load_initial(tmp_path / "checkpoints" / "5")


@pytest.mark.parametrize(
  "variable, below",
  [
    ("HF_HUB_CACHE", "."),
    ("HF_HOME", "hub"),
    ("XDG_CACHE_HOME", "huggingface/hub"),
    ("HOME", ".cache/huggingface/hub"),
  ],
)
def test_id_of_a_cached_model(monkeypatch, tmp_path, variable, below):
  snapshot = _cache(monkeypatch, tmp_path / below)
  monkeypatch.setenv(variable, str(tmp_path))
  config = _config()
  whole = _write_huggingface(tmp_path / "whole", config, _encoder(config))
  blobs = snapshot.parents[1] / "blobs"
  blobs.mkdir()
  snapshot.mkdir(parents=True)
  for i, file in enumerate(sorted(whole.iterdir())):
    shutil.move(file, blobs / str(i))
    (snapshot / file.name).symlink_to(f"../../blobs/{i}")
  initial = load_initial("org/name")
  _assert_equal(initial.encoder, _encoder(config))
  assert initial.source == "org/name (revision 0123abc)"


def test_id_that_is_not_cached_says_how_to_get_it(monkeypatch, tmp_path):
  snapshot = _cache(monkeypatch, tmp_path)
  monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
  with pytest.raises(FileNotFoundError) as caught:
    load_initial("microsoft/rad-dino")
  assert str(caught.value) == (
    "microsoft/rad-dino: no such path, and no such model in the Hugging Face"
    f" cache {tmp_path}; get it with: hf download microsoft/rad-dino"
  )
  snapshot.mkdir(parents=True)  # Begun, and never finished.
  with pytest.raises(FileNotFoundError, match="incomplete; get it with: hf do"):
    load_initial("org/name")


def test_golden_folder_of_other_shapes_than_its_config(golden_file, tmp_path):
  for file in golden_file("hf_dinov2").iterdir():
    (tmp_path / file.name).write_bytes(file.read_bytes())
  config = tmp_path / "config.json"
  values = json.loads(config.read_text())
  side = values["image_size"] // values["patch_size"]
  values["image_size"] += values["patch_size"]
  width = values["hidden_size"]
  config.write_text(json.dumps(values))
  with pytest.raises(ValueError) as caught:
    load_initial(tmp_path)
  assert str(caught.value) == (
    f"{tmp_path}: its parameters do not make one encoder:"
    f" encoder/position_embedding is ({1 + side**2}, {width}) in the file and"
    f" should be ({1 + (side + 1) ** 2}, {width})"
  )


def test_absent_path_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError) as caught:
    load_initial(tmp_path / "absent")
  assert str(caught.value) == (
    f"{tmp_path / 'absent'}: no such file or folder; accepted: a Hugging Face"
    " folder or hub id, a DINOv2 .pth, or a work folder of this project"
  )


def test_hugging_face_file_without_its_folder_is_refused(tmp_path):
  path = tmp_path / "model.safetensors"
  _save(to_huggingface(_encoder(_config())), path)
  with pytest.raises(ValueError, match="name the folder that holds the file"):
    load_initial(path)


def test_file_that_lacks_a_parameter_is_refused(tmp_path):
  state = read_torch_file(CHUNKED)
  del state["blocks.1.1.ls1.gamma"]
  state = {name: value.astype("float32") for name, value in state.items()}
  path = writer.write_checkpoint(tmp_path / "x.pth", state)
  with pytest.raises(ValueError) as caught:
    load_initial(path)
  assert str(caught.value).startswith(
    f"{path}: its parameters do not make one encoder:"
    " encoder/block_01/scale1/gamma is absent in the file and should be (64,)"
  )


def test_nan_in_a_work_folder_is_refused(tmp_path, monkeypatch):
  random = stored_run.random_networks

  def broken(settings, seed):
    networks = random(settings, seed)
    networks["encoder"]["norm"]["bias"][0] = np.nan
    return networks

  monkeypatch.setattr(stored_run, "random_networks", broken)
  stored_run.write_run(tmp_path)
  with pytest.raises(ValueError, match="encoder/norm/bias holds NaN or Inf"):
    load_initial(tmp_path)


def test_nan_in_a_head_is_refused(rad_dino):
  folder, _ = rad_dino
  head = _head()
  head["mlp.2.bias"][1] = np.inf
  _save(head, folder / "dino_head.safetensors")
  with pytest.raises(ValueError) as caught:
    load_initial(folder)
  assert str(caught.value) == f"{folder}: dino_head/mlp_1/bias holds NaN or Inf"
