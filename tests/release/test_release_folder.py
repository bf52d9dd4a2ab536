"""Folders of releases: whole, readable, and nobody's work lost."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import stored_run
from tiny_encoder import write_encoder

from scan42_jax import paths
from scan42_jax.release import folder as release_folder
from scan42_jax.release.folder import write_release
from scan42_jax.release.sources import release_of_run, release_of_weights
from scan42_jax.weights.dinov2 import to_dinov2
from scan42_jax.weights.initial import load_initial
from scan42_jax.weights.preprocessing import read_preprocessing


@pytest.fixture(scope="module")
def release(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  stored_run.write_run(workdir, (8,))
  return release_of_run(
    workdir, step=None, which="teacher", data_dir=workdir / "data"
  )


def _contents(folder):
  return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_is_written_is_read(release, tmp_path):
  write_release(release, tmp_path / "out", with_dinov2=False)
  initial = load_initial(tmp_path / "out")
  assert initial.config == release.config
  assert initial.encoder.keys() == release.modules["encoder"].keys()
  for path, value in release.modules["encoder"].items():
    np.testing.assert_array_equal(initial.encoder[path], value)
  assert read_preprocessing(tmp_path / "out") == release.preprocessing


def test_release_of_a_release_is_the_same_to_the_byte(release, tmp_path):
  write_release(
    dataclasses.replace(release, license_id="cc-by-4.0"),
    tmp_path / "a",
    with_dinov2=False,
  )
  write_release(
    release_of_weights(str(tmp_path / "a")), tmp_path / "b", with_dinov2=False
  )
  first, second = _contents(tmp_path / "a"), _contents(tmp_path / "b")
  assert set(first) == {
    "DATA_CARD.md",
    "README.md",
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "scan42.json",
    "training_curve.png",
  }
  assert first == second
  assert b"license: cc-by-4.0" in first["README.md"]


def test_dinov2_file_has_the_heads(release, tmp_path):
  write_release(release, tmp_path / "out", with_dinov2=True)
  names = set(
    safetensors.numpy.load_file(tmp_path / "out" / "dinov2.safetensors")
  )
  assert {
    "backbone.blocks.1.attn.qkv.weight",
    "dino_head.mlp.4.bias",
    "ibot_head.last_layer.weight_g",
  } <= names


RAD_DINO = {
  "image_processor_type": "BitImageProcessor",
  "crop_size": {"height": 56, "width": 56},
  "size": {"shortest_edge": 56},
  "image_mean": [0.5307] * 3,
  "image_std": [0.2583] * 3,
}
CXFORMER = {
  "auto_map": {
    "AutoImageProcessor": "custom_processor.CustomBitImageProcessor"
  },
  "image_processor_type": "CustomBitImageProcessor",
  "crop_size": {"height": 56, "width": 56},
  "size": {"shortest_edge": 56},
  "image_mean": [0.485, 0.456, 0.406],
  "image_std": [0.229, 0.224, 0.225],
}


@pytest.mark.parametrize(
  "name, processor, has_head",
  [
    ("hf_dinov2", RAD_DINO, True),
    ("hf_dinov2_with_registers", CXFORMER, False),
    ("hf_dinov2_with_registers_swiglu", None, False),
  ],
  ids=["RAD-DINO", "CXformer", "SwiGLU"],
)
def test_golden_published_layouts_go_round(
  golden_file, tmp_path, name, processor, has_head
):
  source = tmp_path / "source"
  source.mkdir()
  for file in ("config.json", "model.safetensors"):
    shutil.copyfile(golden_file(name) / file, source / file)
  if processor:
    (source / "preprocessor_config.json").write_text(json.dumps(processor))
  if has_head:
    head = stored_run.random_networks(stored_run.tiny.settings(), 0)
    safetensors.numpy.save_file(
      to_dinov2(paths.flatten(head["dino_head"])),
      source / "dino_head.safetensors",
    )
  first = release_of_weights(str(source))
  write_release(first, tmp_path / "out", with_dinov2=True)
  state = safetensors.numpy.load_file(source / "model.safetensors")
  back = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
  assert back.keys() == state.keys()
  for key, value in state.items():
    np.testing.assert_array_equal(back[key], value)
  second = release_of_weights(str(tmp_path / "out"))
  assert second.config == first.config
  assert second.preprocessing == first.preprocessing
  assert second.preprocessing.equalize == (processor is CXFORMER)
  assert ("dino_head" in second.modules) == has_head
  for module, arrays in first.modules.items():
    for path, value in arrays.items():
      np.testing.assert_array_equal(second.modules[module][path], value)


def test_digests_are_those_of_the_files(release, tmp_path):
  write_release(release, tmp_path / "out", with_dinov2=False)
  own = json.loads((tmp_path / "out" / "scan42.json").read_text())
  names = {path.name for path in (tmp_path / "out").iterdir()}
  assert set(own["files"]) == names - {"scan42.json"}


def test_modes_of_all_files_are_alike(release, tmp_path):
  write_release(release, tmp_path / "out", with_dinov2=True)
  modes = {path.stat().st_mode for path in (tmp_path / "out").iterdir()}
  assert len(modes) == 1


def test_earlier_release_is_replaced_and_nothing_else_is_left(
  release, tmp_path
):
  output = tmp_path / "out"
  output.mkdir()
  for with_dinov2 in (True, False):
    write_release(release, output, with_dinov2=with_dinov2)
    assert (output / "dinov2.safetensors").exists() == with_dinov2
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_others_wrote_is_left_alone(release, tmp_path):
  output = tmp_path / "out"

  def refused(message):
    before = _contents(output)
    with pytest.raises(ValueError) as caught:
      write_release(release, output, with_dinov2=False)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert _contents(output) == before

  output.mkdir()
  (output / "notes.txt").write_text("mine")
  refused("is not empty and no release of this project")
  (output / "notes.txt").unlink()
  write_release(release, output, with_dinov2=False)
  card = output / "README.md"
  card.write_text(card.read_text() + "\nOur own results.\n")
  refused(f"{card} is not what was released")
  file = tmp_path / "file"
  file.write_text("x")
  with pytest.raises(ValueError, match="is a file: name a folder"):
    write_release(release, file, with_dinov2=False)


def test_failure_leaves_the_old_folder_whole(release, tmp_path, monkeypatch):
  output = tmp_path / "out"
  write_release(release, output, with_dinov2=False)
  before = _contents(output)

  def full(*_, **__):
    raise OSError("No space left on device")

  monkeypatch.setattr(release_folder, "render", full)
  with pytest.raises(OSError, match="No space left"):
    write_release(release, output, with_dinov2=True)
  assert _contents(output) == before
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_kill_left_is_swept(release, tmp_path):
  partial = tmp_path / ".out.partial"
  partial.mkdir()
  (partial / "model.safetensors").write_bytes(b"half")
  write_release(release, tmp_path / "out", with_dinov2=False)
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_kill_between_old_and_new_loses_neither(release, tmp_path, monkeypatch):
  output = tmp_path / "out"
  write_release(release, output, with_dinov2=False)
  before = _contents(output)
  output.rename(tmp_path / ".out.replaced")
  monkeypatch.setattr(release_folder, "render", None)
  with pytest.raises(TypeError):
    write_release(release, output, with_dinov2=False)
  assert _contents(output) == before
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folder_behind_a_link_is_replaced(release, tmp_path):
  (tmp_path / "real").mkdir()
  (tmp_path / "link").symlink_to("real")
  for _ in range(2):
    write_release(release, tmp_path / "link", with_dinov2=False)
  assert (tmp_path / "link").is_symlink()
  assert (tmp_path / "real" / "config.json").is_file()


def test_weights_with_nan_are_not_released(release, tmp_path):
  encoder = dict(release.modules["encoder"])
  encoder["cls_token"] = np.full_like(encoder["cls_token"], np.nan)
  broken = dataclasses.replace(release, modules={"encoder": encoder})
  with pytest.raises(ValueError, match="encoder/cls_token holds NaN or Inf"):
    write_release(broken, tmp_path / "out", with_dinov2=False)
  assert not list(tmp_path.iterdir())


def test_preparation_that_was_assumed_stays_so(tmp_path):
  source = write_encoder(tmp_path / "source")
  (source / "preprocessor_config.json").unlink()
  for name in ("a", "b"):
    release = release_of_weights(str(source))
    assert "none is stored with the weights" in release.origin["preparation"]
    source = tmp_path / name
    write_release(release, source, with_dinov2=False)
  assert _contents(tmp_path / "a") == _contents(tmp_path / "b")
