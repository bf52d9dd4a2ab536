"""One run in several processes on this machine, with real collectives."""

import json
import signal
import time

import numpy as np
import pytest
import runs

from scan42_jax import paths

SHORT = "--config.schedule.total_steps=12"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return runs.prepare_films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def one_process(tmp_path_factory, data_dir):
  workdir = tmp_path_factory.mktemp("one")
  done = runs.run(workdir, data_dir, SHORT, "--config.loop.monitor_every=6")
  assert done.returncode == 0, done.stderr
  return workdir


def _rows(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def _assert_same_run(ours, theirs):
  """Metrics within 1e-5, parameters where AdamW does not blow up rounding."""
  pace = {"images_per_second", "data_wait", "seconds_left"}
  pace |= {"model_tflop_per_second"}
  assert len(_rows(ours)) == len(_rows(theirs))
  for row, expected in zip(_rows(ours), _rows(theirs), strict=True):
    assert row.keys() == expected.keys()
    for name in row.keys() - pace:
      np.testing.assert_allclose(
        row[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=name
      )
  state, expected = runs.last_state(ours), runs.last_state(theirs)
  moments = paths.flatten(expected.opt_state.mu)
  for path, value in paths.flatten(state.opt_state.mu).items():
    np.testing.assert_allclose(value, moments[path], atol=1e-5, err_msg=path)
  for tree in ("student", "teacher"):
    reference = paths.flatten(getattr(expected, tree))
    for path, value in paths.flatten(getattr(state, tree)).items():
      sure = np.abs(moments[path]) > 1e-5
      np.testing.assert_allclose(
        value[sure], reference[path][sure], atol=1e-5, err_msg=path
      )


@pytest.mark.parametrize("count, told_by", [(2, "slurm"), (4, "flags")])
def test_several_processes_equal_one(
  one_process, data_dir, tmp_path, count, told_by
):
  monitored = "--config.loop.monitor_every=6"
  processes = runs.start_many(
    count, tmp_path, data_dir, SHORT, monitored, told_by=told_by
  )
  for done in runs.finish_many(processes):
    assert done.returncode == 0, done.stderr
  _assert_same_run(tmp_path, one_process)


def test_processes_that_share_a_part_of_the_batch(
  one_process, data_dir, tmp_path
):
  flags = ("--config.mesh.tensor=2", "--config.loop.monitor_every=6")
  processes = runs.start_many(
    2, tmp_path, data_dir, SHORT, *flags, told_by="variables"
  )
  for done in runs.finish_many(processes):
    assert done.returncode == 0, done.stderr
  _assert_same_run(tmp_path, one_process)


@pytest.mark.parametrize(
  "whom, number", [(1, signal.SIGTERM), (0, signal.SIGTERM), (1, signal.SIGINT)]
)
def test_a_signal_to_one_stops_all_at_the_same_step(
  data_dir, tmp_path, whom, number
):
  processes = runs.start_many(2, tmp_path, data_dir)
  runs.wait_for(processes[0], "step 3/")
  processes[whom].send_signal(number)
  done = runs.finish_many(processes)
  assert [d.returncode for d in done] == [143, 143], done
  last = done[0].stdout.splitlines()[-1]
  assert last.startswith("stopped by SIGTERM at step"), last
  step = int(last.split("step ")[1].split(",")[0])
  assert 3 <= step < 40
  assert int(runs.last_state(tmp_path).step) == step


@pytest.mark.parametrize("whom", [0, 1])
def test_the_death_of_one_ends_the_others(data_dir, tmp_path, whom):
  processes = runs.start_many(2, tmp_path, data_dir)
  runs.wait_for(processes[0], "step 10/")
  saved = tmp_path / "checkpoints" / "10"
  while not saved.is_dir() and processes[whom].poll() is None:
    time.sleep(0.05)
  processes[whom].kill()
  done = runs.finish_many(processes)
  assert done[whom].returncode == -signal.SIGKILL
  # Never 1, which stands for a mistake that no repetition can mend.
  assert done[1 - whom].returncode not in (0, 1)
  # The last save is whole, and the same command goes on from it.
  assert int(runs.last_state(tmp_path).step) % 10 == 0


def test_a_mistake_of_one_ends_all(data_dir, tmp_path):
  flag = "--config.data.datasets=('mine',)"
  processes = runs.start_many(2, tmp_path, data_dir, flag)
  done = runs.finish_many(processes)
  assert 1 in [d.returncode for d in done]
  assert any("error: no dataset 'mine'" in d.stderr for d in done)


EVALUATIONS = [
  ("eval.classification", "--config=configs/eval/phantom.py"),
  ("eval.segmentation", "--config=configs/eval/phantom.py"),
  ("eval.report_generation", "--config=configs/eval/phantom_reports.py"),
]


@pytest.mark.parametrize("name, config", EVALUATIONS)
def test_an_evaluation_started_several_times_is_refused(
  tmp_path, monkeypatch, name, config
):
  monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
  flags = (config, "--encoder=/nowhere", f"--workdir={tmp_path / 'w'}")
  done = runs.module(name, *flags)
  assert done.returncode == 1 and not (tmp_path / "w").exists()
  assert "is done by one process" in done.stderr
  assert "one of 4 ($SLURM_STEP_NUM_TASKS)" in done.stderr


def test_processes_that_cannot_meet_say_what_to_give(data_dir, tmp_path):
  done = runs.run(tmp_path, data_dir, "--distributed")
  assert done.returncode == 1
  assert "give each --coordinator=HOST:PORT" in done.stderr
  assert "Traceback" not in done.stderr
