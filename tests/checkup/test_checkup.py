"""The doctor finds what is broken and says what to do."""

import importlib.metadata
import shutil
import subprocess
import sys

import jax.numpy as jnp
import pytest
import runs

from scan42_jax.checkup import data, machine, trial


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return runs.prepare_films(tmp_path_factory.mktemp("films"), count=8)


def test_a_tiny_run_goes_through():
  (finding,) = trial.one_step()
  assert finding.level == "ok", finding.text
  assert "checkpoint and back" in finding.text


def test_a_run_that_fails_is_reported(monkeypatch):
  def broken(*args, **options):
    raise OSError("the disk is full\nand more")

  monkeypatch.setattr(trial, "read_film", broken)
  (finding,) = trial.one_step()
  assert finding.level == "fail" and finding.fix
  assert finding.text == "OSError: the disk is full"


def test_attention_is_compared_with_the_exact_result(monkeypatch):
  (finding,) = machine.attention()
  assert finding.level == "ok", finding.text
  monkeypatch.setattr(machine, "attend", lambda q, k, v: v)
  (finding,) = machine.attention()
  assert finding.level == "fail" and "float32" in finding.fix
  monkeypatch.setattr(machine, "attend", lambda q, k, v: v * jnp.nan)
  (finding,) = machine.attention()
  assert finding.level == "fail"


def test_packages_that_do_not_fit_are_named(monkeypatch):
  def requires(name):
    return ["jax>=999", "no-such-package-here>=1", "x; extra == 'gpu'"]

  monkeypatch.setattr(importlib.metadata, "requires", requires)
  finding = list(machine.versions())[-1]
  assert finding.level == "fail"
  assert f"jax {importlib.metadata.version('jax')} is not" in finding.text
  assert "no-such-package-here is absent" in finding.text
  assert "x is absent" not in finding.text


def test_little_memory_disk_and_files_are_told(monkeypatch, tmp_path):
  monkeypatch.setattr(machine, "free_memory", lambda: (2**30, 2**33))
  (finding,) = machine.memory()
  assert finding.level == "warn" and "1.0 GiB free of 8.0" in finding.text
  monkeypatch.setattr(machine.resource, "getrlimit", lambda limit: (256, 65536))
  (finding,) = machine.file_limits()
  assert finding.level == "warn" and "ulimit -n 65536" in finding.fix
  # Folders that are yet to be made are judged by where they will be.
  (finding,) = machine.disk({"data": tmp_path / "a" / "b"})
  assert "GiB free for data" in finding.text


def test_free_memory_is_what_the_machine_has():
  free, total = machine.free_memory()
  assert 0 < free <= total


@pytest.mark.parametrize("seconds, hashed", [(60.0, "3 of 3"), (0.0, "0 of 3")])
def test_sound_data_is_counted(data_dir, seconds, hashed):
  (finding,) = data.datasets(data_dir, seconds=seconds)
  assert finding.level == "ok", finding.text
  assert "train 4" in finding.text and f"{hashed} shards" in finding.text


def test_damage_is_named_and_the_binary_says_so(data_dir, tmp_path):
  copy = tmp_path / "copy"
  shutil.copytree(data_dir, copy)
  (shard,) = copy.glob("folder/*/folder-train.array_record*")
  good = shard.read_bytes()
  shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
  (finding,) = data.datasets(copy, seconds=60.0)
  assert finding.level == "fail" and finding.fix
  assert f"{shard.name} has other bytes" in finding.text
  shard.write_bytes(good[:-1])
  (finding,) = data.datasets(copy, seconds=0.0)
  assert f"{shard.name} has {len(good) - 1} bytes" in finding.text
  shard.unlink()
  done = subprocess.run(
    [sys.executable, "-m", "scan42_jax.doctor", f"--data_dir={copy}"],
    cwd=runs.ROOT,
    env=runs.environment(),
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 1, done.stdout + done.stderr
  assert f"{shard.name} is absent" in done.stdout
  assert "1 to mend" in done.stdout and "ok   tiny run" in done.stdout
  assert not done.stderr


def test_no_data_is_no_fault(tmp_path):
  (finding,) = data.datasets(tmp_path, seconds=1.0)
  assert finding.level == "warn" and str(tmp_path) in finding.text
