"""Faults of a pretraining run, each caused for real on the real binary."""

import json
import os
import resource
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import runs

SHORT = "--config.schedule.total_steps=12"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return runs.prepare_films(tmp_path_factory.mktemp("films"))


def _copy(data_dir, copy):
  subprocess.run(["cp", "-r", data_dir, copy], check=True)
  (shard,) = copy.glob("folder/*/folder-train.array_record*")
  return copy, shard


def _damage_records(shard, count):
  content = bytearray(shard.read_bytes())
  place = 0
  for _ in range(count):
    place = content.index(b"\xff\xd8\xff", place + 1)
    content[place + 300 : place + 364] = bytes(64)
  shard.write_bytes(content)


def _one_error(done):
  assert done.returncode == 1, done.stdout + done.stderr
  lines = done.stderr.splitlines()
  errors = [x for x in lines if x.startswith("error: ")]
  assert errors == lines[-1:], done.stderr
  return errors[0]


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_the_checkpoint_before_a_damaged_one_is_used(
  data_dir, tmp_path, damage
):
  assert runs.run(tmp_path, data_dir, SHORT).returncode == 0
  newest = tmp_path / "checkpoints" / "12"
  largest = max(newest.rglob("*"), key=lambda p: p.stat().st_size)
  content = bytearray(largest.read_bytes())
  if damage == "cut":
    del content[-9:]
  else:
    content[len(content) // 2] ^= 1
  largest.write_bytes(content)
  done = runs.run(tmp_path, data_dir, SHORT)
  assert done.returncode == 0, done.stderr
  assert "checkpoint 12 is damaged and left out" in done.stderr
  assert "resumed at step 10" in done.stdout
  assert int(runs.last_state(tmp_path).step) == 12


def test_a_save_beyond_the_largest_file_leaves_older_ones(data_dir, tmp_path):
  assert runs.run(tmp_path, data_dir, SHORT).returncode == 0

  def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

  done = runs.run(
    tmp_path, data_dir, "--config.schedule.total_steps=40", preexec_fn=limit
  )
  message = _one_error(done)
  assert (
    "could not be written" in message and "older ones are intact" in message
  )
  assert int(runs.last_state(tmp_path).step) == 12
  done = runs.run(tmp_path, data_dir, "--config.schedule.total_steps=20")
  assert done.returncode == 0 and "resumed at step 12" in done.stdout


@pytest.fixture
def small_disk(tmp_path):
  folder = tmp_path / "disk"
  folder.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
  if subprocess.run(mount, capture_output=True).returncode:
    pytest.skip("file systems cannot be mounted here")
  yield folder
  subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_line_and_loses_no_checkpoint(data_dir, small_disk):
  keep = "--config.loop.keep_checkpoints=9"
  done = runs.run(small_disk, data_dir, keep)
  message = _one_error(done)
  assert "disk" in message or "No space left" in message
  steps = sorted(
    int(p.name) for p in (small_disk / "checkpoints").glob("[0-9]*0")
  )
  assert steps and steps[-1] < 40
  subprocess.run(
    ["mount", "-o", "remount,size=50m", str(small_disk)], check=True
  )
  done = runs.run(small_disk, data_dir, keep)
  assert done.returncode == 0, done.stderr
  assert f"resumed at step {steps[-1]}" in done.stdout


def test_a_damaged_record_is_replaced_the_same_way_each_time(
  data_dir, tmp_path
):
  copy, shard = _copy(data_dir, tmp_path / "data")
  _damage_records(shard, 1)
  for name in ("a", "b"):
    done = runs.run(tmp_path / name, copy, SHORT)
    assert done.returncode == 0, done.stderr
    assert "cannot be read, the next stands in (1 so far)" in done.stdout
    rows = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["broken_films"] == 1
  a, b = (runs.last_state(tmp_path / name) for name in ("a", "b"))
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_too_many_damaged_records_end_the_run(data_dir, tmp_path):
  copy, shard = _copy(data_dir, tmp_path / "data")
  _damage_records(shard, 4)
  done = runs.run(
    tmp_path / "w", copy, SHORT, "--config.data.max_broken_films=3"
  )
  message = _one_error(done)
  assert "4 films could not be read" in message
  assert "max_broken_films is 3" in message and shard.name in message


def test_films_that_vanish_while_running_end_the_run(data_dir, tmp_path):
  copy, shard = _copy(data_dir, tmp_path / "data")
  process = runs.start(
    tmp_path / "w",
    copy,
    "--config.data.max_broken_films=3",
    "--config.schedule.total_steps=4000",
  )
  runs.wait_for(process, "step 12/")
  os.truncate(shard, 0)
  (done,) = runs.finish_many([process])
  assert "4 films could not be read" in _one_error(done)
  assert int(runs.last_state(tmp_path / "w").step) % 10 == 0


def test_a_hung_process_writes_its_stacks_and_ends(data_dir, tmp_path):
  # The first step is compiled, which takes longer than the limit.
  done = runs.run(tmp_path, data_dir, "--config.loop.hang_s=1")
  assert done.returncode == -signal.SIGALRM, done.stderr
  stacks = (tmp_path / "hung_0.txt").read_text()
  assert "Current thread" in stacks and "scan42_jax/train.py" in stacks
  status = subprocess.run(
    [sys.executable, "-m", "scan42_jax.status", str(tmp_path)],
    cwd=runs.ROOT,
    capture_output=True,
    text=True,
  )
  assert status.returncode == 3 and "hung_0.txt" in status.stdout


def test_a_crash_is_replayed_to_the_last_bit(data_dir, tmp_path):
  done = runs.run(
    tmp_path,
    data_dir,
    "--config.loop.max_skipped_in_a_row=2",
    "--config.loop.checkpoint_every=3",
    "--config.schedule.learning_rate=1e30",
    "--config.schedule.warmup_steps=8",
  )
  assert "NaN or Inf in 2 steps in a row" in _one_error(done)
  bundle = json.loads((tmp_path / "crash.json").read_text())
  recorded = [row["step"] for row in bundle["metrics"]]
  step = bundle["step"]
  assert recorded[-1] in (step - 1, step) and len(bundle["films"]) == 8
  assert bundle["error"].startswith("FloatingPointError")
  before = sorted(p.name for p in tmp_path.rglob("*"))
  for wanted in (recorded[-1], recorded[-3], 2):
    done = runs.module("replay", str(tmp_path), f"--step={wanted}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is what was recorded, bit for bit" in done.stdout
  first = bundle["films"][0]
  line = "film {index}: {dataset} {position}".format(**first)
  done = runs.module("replay", str(tmp_path))
  assert line in done.stdout
  assert before == sorted(p.name for p in tmp_path.rglob("*"))


def test_replay_tells_what_is_missing(data_dir, tmp_path):
  done = runs.module("replay", str(tmp_path))
  assert "is it a --workdir?" in _one_error(done)
  assert runs.run(tmp_path, data_dir, SHORT).returncode == 0
  done = runs.module("replay", str(tmp_path), "--step=3")
  assert "give --step=N and --data_dir=DIR" in _one_error(done)
  done = runs.module(
    "replay", str(tmp_path), "--step=3", f"--data_dir={data_dir}"
  )
  assert done.returncode == 0
  row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[2])
  assert f"\nloss {row['loss']!r}\n" in done.stdout


def test_a_profile_is_taken_on_request(data_dir, tmp_path):
  process = runs.start(tmp_path, data_dir, "--config.schedule.total_steps=60")
  runs.wait_for(process, "step 12/")
  process.send_signal(signal.SIGUSR1)
  (done,) = runs.finish_many([process])
  assert done.returncode == 0 and "profiling steps" in done.stdout, done.stderr
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_a_line_cut_by_a_kill_spoils_no_other(data_dir, tmp_path):
  assert runs.run(tmp_path, data_dir, SHORT).returncode == 0
  metrics = tmp_path / "metrics.jsonl"
  metrics.write_text(metrics.read_text()[:-9])
  longer = "--config.schedule.total_steps=14"
  assert runs.run(tmp_path, data_dir, longer).returncode == 0
  *_, cut, first, last = metrics.read_text().splitlines()
  with pytest.raises(ValueError):
    json.loads(cut)
  assert [json.loads(x)["step"] for x in (first, last)] == [13, 14]
