"""A run that goes on with other devices, mesh axes or micro-batches."""

import json
import shutil

import numpy as np
import pytest
import runs


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return runs.prepare_films(tmp_path_factory.mktemp("films"))


def _rows(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return {row["step"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, data_dir):
  """Twenty steps on one device."""
  workdir = tmp_path_factory.mktemp("whole")
  done = runs.run(workdir, data_dir, "--config.schedule.total_steps=20")
  assert done.returncode == 0, done.stderr
  return workdir


@pytest.mark.parametrize(
  "devices, flags",
  [
    (4, ("--config.mesh.fsdp=2", "--config.mesh.tensor=2")),
    (2, ("--config.mesh.fsdp=2", "--config.accumulation_steps=2")),
    (1, ("--config.accumulation_steps=4",)),
    (1, ("--config.model.scan_blocks=True", "--config.model.remat=full")),
  ],
)
def test_goes_on_with_the_same_films(
  whole_run, data_dir, tmp_path, devices, flags
):
  shutil.copytree(whole_run / "checkpoints/10", tmp_path / "checkpoints/10")
  total = "--config.schedule.total_steps=20"
  done = runs.run(tmp_path, data_dir, total, *flags, devices=devices)
  assert done.returncode == 0, done.stderr
  assert "resumed at step 10" in done.stdout
  ours, theirs = _rows(tmp_path), _rows(whole_run)
  assert list(ours) == list(range(11, 21))
  # Of other films each of these would differ in its first digits.
  for step, row in ours.items():
    for name in ("loss", "dino_global", "dino_local", "ibot", "koleo"):
      np.testing.assert_allclose(
        row[name], theirs[step][name], rtol=1e-5, err_msg=f"{name} at {step}"
      )


def test_goes_on_in_two_processes(whole_run, data_dir, tmp_path):
  shutil.copytree(whole_run / "checkpoints/10", tmp_path / "checkpoints/10")
  total = "--config.schedule.total_steps=20"
  processes = runs.start_many(2, tmp_path, data_dir, total)
  for done in runs.finish_many(processes):
    assert done.returncode == 0, done.stderr
  ours, theirs = _rows(tmp_path), _rows(whole_run)
  for step, row in ours.items():
    assert row["loss"] == pytest.approx(theirs[step]["loss"], rel=1e-5)
