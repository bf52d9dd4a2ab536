"""What is known of weights: from a run, from a release, from elsewhere."""

import hashlib
import json

import numpy as np
import pytest
import runs
import stored_run
from tiny_encoder import write_encoder

from scan42_jax import paths
from scan42_jax.release.sources import release_of_run, release_of_weights


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("runs") / "run"
  stored_run.write_run(
    workdir,
    **{
      "init_from": "/home/ann/dinov2_vits14_reg4_pretrain.pth",
      "data.datasets": ("phantom", "films"),
      "data.equalize": True,
      "loop.monitor_films": 77,
    },
  )
  (workdir / "linear_probe.json").write_text('{"trained": 0.5}')
  return workdir


def _release(workdir, **changes):
  arguments = {"step": None, "which": "teacher", "data_dir": workdir / "data"}
  return release_of_run(workdir, **(arguments | changes))


@pytest.mark.parametrize(
  "step, which, seed", [(None, "teacher", 8), (4, "student", 104)]
)
def test_network_and_step_are_those_asked_for(run, step, which, seed):
  release = _release(run, step=step, which=which)
  settings = stored_run.tiny.settings()
  expected = stored_run.random_networks(settings, seed)
  assert release.modules.keys() == expected.keys()
  for name, arrays in release.modules.items():
    for path, value in paths.flatten(expected[name]).items():
      np.testing.assert_array_equal(arrays[path], value)
  assert release.origin["step"] == (step or 8)
  assert release.origin["network"] == which


def test_origin_tells_of_training_and_not_of_the_machine(run):
  origin = _release(run).origin
  assert json.loads(json.dumps(origin)) == origin
  assert "ann" not in json.dumps(origin) and str(run) not in json.dumps(origin)
  name = "dinov2_vits14_reg4_pretrain.pth"
  assert origin["start"] == {"name": name, "license": "apache-2.0"}
  assert origin["settings"]["init_from"] == name
  # A batch of 8 at 3e-4 for 1024.
  assert origin["peak_learning_rate"] == pytest.approx(3e-4 * (8 / 1024) ** 0.5)
  assert origin["held_out"] == {
    "step": 8,
    "dataset": "phantom",
    "split": "validation",
    "films_at_most": 77,
    "values": {"knn_auroc": 0.75},
  }
  assert origin["linear_probe"] == {"trained": 0.5}


def test_earlier_steps_know_nothing_of_later_ones(run):
  origin = _release(run, step=4).origin
  assert origin["held_out"]["values"] == {"knn_auroc": 0.625}
  # It was measured after the last step, on the teacher.
  assert origin["linear_probe"] is None
  assert _release(run, which="student").origin["linear_probe"] is None


def test_films_that_are_not_at_hand_are_not_counted(run):
  assert _release(run).origin["data"] == [
    {"name": "phantom", "split": "train", "films": None},
    {"name": "films", "split": "train", "films": None},
  ]


def test_films_at_hand_are_counted(tmp_path):
  data_dir = runs.prepare_films(tmp_path)
  workdir = tmp_path / "run"
  stored_run.write_run(workdir, (8,), **{"data.datasets": ("folder",)})
  (data,) = _release(workdir, data_dir=data_dir).origin["data"]
  assert data["films"] == 24
  manifest = next(data_dir.glob("folder/*/manifest.json"))
  digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
  assert data["manifest_sha256"] == digest


def test_models_of_the_hub_are_named_by_their_id(tmp_path, monkeypatch):
  monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
  model = tmp_path / "models--some-org--cxr"
  write_encoder(model / "snapshots" / "abc")
  (model / "refs").mkdir()
  (model / "refs" / "main").write_text("abc")
  card = model / "snapshots" / "abc" / "README.md"
  card.write_text("---\nlicense: mit\n---\n")
  release = release_of_weights("some-org/cxr")
  assert release.origin["start"] == {"name": "some-org/cxr", "license": "mit"}


def test_films_are_prepared_as_monitors_see_them(run):
  how = _release(run).preprocessing
  assert (how.resize_px, how.crop_px, how.squash) == (56, None, True)
  assert how.equalize


def test_run_without_metrics_has_no_curve(run, tmp_path):
  stored_run.write_run(tmp_path, (8,))
  (tmp_path / "metrics.jsonl").unlink()
  release = _release(tmp_path)
  assert release.curve is None and release.origin["held_out"] is None
  assert _release(run).curve.startswith(b"\x89PNG")


def test_weights_from_elsewhere_keep_their_licence(tmp_path):
  folder = write_encoder(tmp_path / "CXformer-tiny")
  release = release_of_weights(str(folder))
  assert release.origin == {
    "kind": "converted",
    "start": {"name": "CXformer-tiny", "license": "cc-by-nc-4.0"},
    "preparation": "stored with the weights",
  }
  assert release.license_id == "cc-by-nc-4.0"
  assert release.preprocessing.crop_px and release.curve is None


def test_work_folders_go_the_other_way(run):
  with pytest.raises(ValueError, match="is a work folder: name it as"):
    release_of_weights(str(run))
