"""The status of a run, read from work folders in every condition."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from scan42_jax import digests, status

ROOT = pathlib.Path(__file__).parents[1]
NOW = 1_500_000_000.0


def _row(step, **fields):
  # 32 films a step at 16 films/s: 2 s a step, 20 s a row.
  values = {"loss": 8.0, "images_per_second": 16.0, "data_wait": 0.25}
  return {"step": step, "skipped_in_a_row": 0.0} | values | fields


def _write(workdir, rows, *, age_s=0.0, checkpoints=()):
  config = {"batch_size": 32, "schedule": {"total_steps": 100}}
  (workdir / "config.json").write_text(json.dumps(config))
  text = "".join(json.dumps(row) + "\n" for row in rows)
  (workdir / "metrics.jsonl").write_text(text)
  for file in ("config.json", "metrics.jsonl"):
    os.utime(workdir / file, (NOW - age_s, NOW - age_s))
  for step in checkpoints:
    folder = workdir / "checkpoints" / str(step) / "state"
    folder.mkdir(parents=True)
    (folder / "array").write_bytes(bytes(100) + bytes([step]))
    digests.write(folder.parent)


def _read(workdir, *, patience=10.0, verify=True):
  return status.read_status(workdir, now=NOW, patience=patience, verify=verify)


def test_pace_and_time_left(tmp_path):
  rows = [_row(step) for step in (10, 20, 30, 40)]
  _write(tmp_path, [*rows, {"step": 40, "held_out/knn_auroc": 0.7}], age_s=5)
  run = _read(tmp_path)
  assert (run.state, run.step, run.total_steps) == ("running", 40, 100)
  assert run.pace == status.Pace(16.0, 0.5, 20.0)
  assert run.silent_s == 5.0
  text = "\n".join(status.lines(run))
  assert "40 of 100 (40.0%)" in text
  assert "time left    0:02:00" in text  # 60 steps at half a step a second.
  assert "data wait    25%" in text


@pytest.mark.parametrize(
  "age_s, patience, state",
  [
    (199, 10.0, "running"),
    (201, 10.0, "stalled"),
    (201, 11.0, "running"),
    # Two intervals are 40 s: shorter than a monitor may take.
    (119, 2.0, "running"),
    (121, 2.0, "stalled"),
  ],
)
def test_stalled_after_some_usual_intervals(tmp_path, age_s, patience, state):
  _write(tmp_path, [_row(10), _row(20)], age_s=age_s)
  assert _read(tmp_path, patience=patience).state == state


def test_a_finished_run_is_never_stalled(tmp_path):
  _write(tmp_path, [_row(50), _row(100)], age_s=1e6)
  assert _read(tmp_path).state == "finished"


def test_a_run_without_metrics_is_starting(tmp_path):
  _write(tmp_path, [], age_s=600)
  run = _read(tmp_path)
  assert (run.state, run.step, run.pace) == ("starting", 0, None)
  assert "checkpoint   none yet" in list(status.lines(run))
  _write(tmp_path, [], age_s=4000)
  assert _read(tmp_path).state == "stalled"


def test_an_error_counts_until_the_run_goes_on(tmp_path):
  _write(tmp_path, [_row(10)], age_s=50)
  file = tmp_path / "traceback.txt"
  file.write_text("Traceback\n  ...\nValueError: the disk is full\n")
  os.utime(file, (NOW - 40, NOW - 40))
  run = _read(tmp_path)
  assert (run.state, run.reason) == ("failed", "ValueError: the disk is full")
  os.utime(tmp_path / "config.json", (NOW - 30, NOW - 30))
  assert _read(tmp_path).state == "running"


def test_finds_the_newest_checkpoint_that_verifies(tmp_path):
  _write(tmp_path, [_row(30)], checkpoints=(10, 20, 30))
  (tmp_path / "last_good_checkpoint.txt").write_text("10\n")
  assert _read(tmp_path).saved == status.Saved(30, 30, True, "", 10)
  array = tmp_path / "checkpoints" / "30" / "state" / "array"
  array.write_bytes(bytes(101))
  run = _read(tmp_path)
  assert (run.state, run.saved.newest, run.saved.usable) == ("damaged", 30, 20)
  assert str(array) in run.reason
  assert "usable       step 20" in list(status.lines(run))
  assert _read(tmp_path, verify=False).saved.usable == 30


def test_tells_skipped_steps(tmp_path):
  rows = [_row(10), _row(20, skipped_in_a_row=0.1, loss=None), _row(30)]
  _write(tmp_path, rows)
  run = _read(tmp_path)
  assert run.skipped == [20]
  assert any("up to step 20" in line for line in status.lines(run))


def test_a_resumed_run_counts_once_and_cut_lines_are_left_out(tmp_path):
  rows = [_row(10), _row(20, skipped_in_a_row=1.0), _row(30), _row(20)]
  _write(tmp_path, rows)
  text = (tmp_path / "metrics.jsonl").read_text()
  (tmp_path / "metrics.jsonl").write_text(text + '{"step": 30, "lo')
  os.utime(tmp_path / "metrics.jsonl", (NOW, NOW))
  run = _read(tmp_path)
  assert (run.step, run.skipped, run.unreadable) == (20, [], 1)


def _call(*args):
  return subprocess.run(
    [sys.executable, "-m", "scan42_jax.status", *map(str, args)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_the_binary_answers_with_lines_and_an_exit_code(tmp_path):
  _write(tmp_path, [_row(100)], checkpoints=(100,))
  done = _call(tmp_path)
  assert done.returncode == 0, done.stderr
  assert "state        finished" in done.stdout
  assert "step 100, digests verify" in done.stdout
  _write(tmp_path, [_row(50)])  # In 2017.
  assert _call(tmp_path).returncode == 2


@pytest.mark.parametrize("args", [[], ["a", "b"], ["no/such/folder"]])
def test_mistakes_are_one_line(args):
  done = _call(*args)
  assert done.returncode == 1
  assert len(done.stderr.splitlines()) == 1
  assert done.stderr.startswith("error: ")


def test_another_config_is_refused(tmp_path):
  (tmp_path / "config.json").write_text("[]")
  with pytest.raises(ValueError, match="of a pretraining run"):
    _read(tmp_path)


def test_imports_no_jax():
  code = (
    "import sys, scan42_jax.status;"
    "heavy = {'jax', 'numpy', 'orbax', 'flax', 'clu'} & set(sys.modules);"
    "assert not heavy, heavy"
  )
  subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
