"""The training binary, run, stopped and killed like a user's."""

import json
import signal

import numpy as np
import pytest
import runs

from scan42_jax import paths
from scan42_jax.settings import from_json


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return runs.prepare_films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, data_dir):
  """A run that nobody disturbed."""
  workdir = tmp_path_factory.mktemp("whole")
  done = runs.run(workdir, data_dir, "--config.loop.monitor_every=20")
  assert done.returncode == 0, done.stderr
  return workdir, done.stdout


def _metrics(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_metrics_and_files_of_a_run(whole_run):
  workdir, output = whole_run
  rows = [row for row in _metrics(workdir) if "loss" in row]
  assert [row["step"] for row in rows] == list(range(1, 41))
  wanted = {"dino_global", "dino_local", "ibot", "koleo", "data_wait"}
  wanted |= {"images_per_second", "teacher_entropy", "prototype_use"}
  for row in rows:
    assert wanted <= row.keys()
    assert np.isfinite(list(row.values())).all()
    assert 0 <= row["data_wait"] <= 1
    terms = ("dino_global", "dino_local", "ibot", "koleo")
    assert sum(row[t] for t in terms) == pytest.approx(row["loss"], rel=1e-5)
  assert "images/s" in output and "data wait" in output and "left" in output
  (films,) = json.loads((workdir / "data.json").read_text())
  settings = from_json(json.loads((workdir / "config.json").read_text()))
  epochs = 40 * settings.batch_size / films["films"]
  assert rows[-1][f"epoch/{films['dataset']}"] == pytest.approx(epochs)
  assert f"| epoch {films['dataset']} {epochs:.2f} |" in output
  assert any((workdir / "tensorboard").iterdir())
  assert runs.last_state(workdir).step == 40


def test_monitors_of_held_out_films(whole_run):
  workdir, output = whole_run
  rows = [r for r in _metrics(workdir) if "held_out/effective_rank" in r]
  assert [row["step"] for row in rows] == [20, 40]
  for row in rows:
    assert 0 <= row["held_out/knn_auroc"] <= 1
    assert row["held_out/effective_rank"] >= 1
    assert 0 < row["held_out/prototype_use"] <= 1
  assert "held-out films" in output


def test_tensorboard_reads_the_events(whole_run):
  from tensorboard.backend.event_processing import event_accumulator

  workdir, _ = whole_run
  events = event_accumulator.EventAccumulator(str(workdir / "tensorboard"))
  events.Reload()
  assert [e.step for e in events.Scalars("loss")] == list(range(1, 41))


@pytest.mark.parametrize(
  "number, code", [(signal.SIGKILL, -9), (signal.SIGTERM, 128 + 15)]
)
def test_a_stopped_run_goes_on_bit_for_bit(
  whole_run, data_dir, tmp_path, number, code
):
  whole, _ = whole_run
  returned, lines = runs.run_until("step 25/", number, tmp_path, data_dir)
  assert returned == code
  if number == signal.SIGTERM:
    assert lines[-1].startswith("stopped by SIGTERM at step")
  done = runs.run(tmp_path, data_dir)
  assert done.returncode == 0, done.stderr
  assert "resumed at step" in done.stdout
  expected = paths.flatten(runs.last_state(whole))
  for path, value in paths.flatten(runs.last_state(tmp_path)).items():
    np.testing.assert_array_equal(value, expected[path], err_msg=path)


def test_a_finished_run_has_nothing_to_do(whole_run, data_dir):
  workdir, _ = whole_run
  done = runs.run(workdir, data_dir)
  assert done.returncode == 0, done.stderr
  assert "nothing to do: all 40 steps are done" in done.stdout


def test_another_run_starts_from_a_work_folder(whole_run, data_dir, tmp_path):
  workdir, _ = whole_run
  done = runs.run(
    tmp_path,
    data_dir,
    f"--config.init_from={workdir}",
    "--config.schedule.total_steps=1",
    "--config.model.width=64",  # The file's width counts.
  )
  assert done.returncode == 0, done.stderr
  state, teacher = runs.last_state(tmp_path), runs.last_state(workdir).teacher
  # The learning rate of the first step is 0.
  np.testing.assert_array_equal(
    state.student["encoder"]["cls_token"], teacher["encoder"]["cls_token"]
  )


def _truncate_shard(data_dir, copy):
  """Copies a dataset and cuts its training shard."""
  import shutil

  shutil.copytree(data_dir, copy)
  (shard,) = copy.glob("folder/*/folder-train.array_record*")
  shard.write_bytes(shard.read_bytes()[:-100])
  return copy


MISTAKES = {
  "unknown field": (["--config.batch=3"], "batch"),
  "wrong type": (["--config.batch_size=many"], "batch_size"),
  "impossible mesh": (["--config.mesh.fsdp=3"], "mesh (data=-1, fsdp=3"),
  "indivisible batch": (["--config.batch_size=9"], "does not divide"),
  "no dataset": (["--config.data.datasets=('mine',)"], "no dataset 'mine'"),
  "no split": (["--config.data.split=training"], "no split 'training'"),
  "no weights": (["--config.init_from=/nowhere.pth"], "/nowhere.pth"),
  "stray argument": (["batch_size=3"], "batch_size=3"),
  "object store": (["--data_dir=gs://bucket/films"], "gs://bucket/films: only"),
}


def _assert_one_clear_line(done, message):
  assert done.returncode == 1, done.stdout + done.stderr
  errors = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
  assert len(errors) == 1, done.stderr
  assert message in errors[0]
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_in_one_clear_line(tmp_path, data_dir, name):
  flags, message = MISTAKES[name]
  _assert_one_clear_line(runs.run(tmp_path, data_dir, *flags), message)


def test_a_truncated_shard_is_named(tmp_path, data_dir):
  cut = _truncate_shard(data_dir, tmp_path / "cut")
  done = runs.run(tmp_path / "work", cut)
  _assert_one_clear_line(done, "folder-train.array_record")


def test_weights_of_another_layout_are_named(tmp_path, data_dir):
  (tmp_path / "config.json").write_text('{"model_type": "bert"}')
  done = runs.run(tmp_path / "work", data_dir, f"--config.init_from={tmp_path}")
  _assert_one_clear_line(done, "bert")


def test_a_checkpoint_of_another_architecture_is_kept(whole_run, data_dir):
  workdir, _ = whole_run
  before = sorted(p.name for p in (workdir / "checkpoints").iterdir())
  done = runs.run(workdir, data_dir, "--config.model.width=64")
  _assert_one_clear_line(done, "config.model.width is 32 there and 64 here")
  after = sorted(p.name for p in (workdir / "checkpoints").iterdir())
  assert before == after


def test_a_run_that_is_never_finite_stops_and_says_why(tmp_path, data_dir):
  done = runs.run(
    tmp_path,
    data_dir,
    "--config.crops.std=(0.0, 1.0, 1.0)",
    "--config.loop.max_skipped_in_a_row=3",
  )
  _assert_one_clear_line(done, "NaN or Inf in 3 steps in a row")
  assert "step 1 skipped" in done.stdout


def test_drift_ends_the_run_and_names_the_last_good_step(
  tmp_path, whole_run, data_dir
):
  flags = (
    f"--config.init_from={whole_run[0]}",
    "--config.loop.monitor_every=10",
    "--config.drift.action=stop",
    "--config.drift.max_knn_loss=1.0",
    "--config.schedule.learning_rate=30.0",
    "--config.schedule.freeze_encoder_steps=10",
    "--config.loop.checkpoint_every=3",
    "--config.loop.keep_checkpoints=1",
    "--config.drift.min_cka=0.9",
  )
  done = runs.run(tmp_path, data_dir, *flags)
  _assert_one_clear_line(done, "the last good checkpoint is step 10")
  rows = [r for r in _metrics(tmp_path) if "held_out/cka_to_start" in r]
  assert rows[0]["held_out/cka_to_start"] == pytest.approx(1, abs=1e-6)
  assert rows[-1]["held_out/cka_to_start"] < 0.9
  assert (tmp_path / "checkpoints" / "10").is_dir()
