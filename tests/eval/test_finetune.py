"""A killed fine-tuning ends in the same numbers; it stops when it is best."""

import pathlib
import signal
import subprocess
import sys

import pytest
import runs
import small_evaluation

_FLAGS = (
  "--config.protocol=finetune",
  "--config.data.canvas_px=64",
  "--config.report.draws=100",
  "--config.finetune.steps=20",
  "--config.finetune.batch_size=8",
  "--config.finetune.warmup_steps=2",
  "--config.finetune.evaluate_every=2",
  "--config.finetune.patience=99",
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return small_evaluation.prepare(tmp_path_factory.mktemp("small"))


def _start(prepared, workdir: pathlib.Path, *flags: str) -> subprocess.Popen:
  encoder, data_dir = prepared
  return subprocess.Popen(
    [
      sys.executable,
      "-m",
      "scan42_jax.eval.classification",
      "--config=configs/eval/folder.py",
      f"--encoder={encoder}",
      f"--workdir={workdir}",
      f"--data_dir={data_dir}",
      *_FLAGS,
      *flags,
    ],
    cwd=runs.ROOT,
    env=runs.environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def _kill_after_a_checkpoint(process, workdir: pathlib.Path) -> None:
  """Kills it while it trains, once there is something to go on from."""
  checkpoints = workdir / "finetune" / "checkpoints"
  for line in process.stdout:
    if line.startswith("step") and list(checkpoints.glob("*/sha256.json")):
      process.kill()
  process.wait(timeout=300)
  assert process.returncode == -signal.SIGKILL


def test_a_killed_run_goes_on_to_the_same_numbers(prepared, tmp_path):
  whole = _start(prepared, tmp_path / "whole")
  assert whole.wait(timeout=300) == 0, whole.stderr.read()
  killed = _start(prepared, tmp_path / "killed")
  _kill_after_a_checkpoint(killed, tmp_path / "killed")
  again = _start(prepared, tmp_path / "killed")
  out, errors = again.communicate(timeout=300)
  assert again.returncode == 0, errors
  assert "resumed at step" in out
  first, second = (
    (tmp_path / name / "predictions.csv").read_text()
    for name in ("whole", "killed")
  )
  assert first == second
  other = _start(
    prepared, tmp_path / "killed", "--config.finetune.head_learning_rate=0.5"
  )
  _, errors = other.communicate(timeout=300)
  assert other.returncode == 1
  assert errors.strip().splitlines()[-1] == (
    f"error: {tmp_path / 'killed'} holds a fine-tuning with another"
    " config.finetune.head_learning_rate; use its config or another --workdir"
  )


def test_it_stops_when_validation_gets_no_better(prepared, tmp_path, capsys):
  small_evaluation.run(
    tmp_path,
    prepared,
    protocol="finetune",
    finetune__steps=40,
    finetune__patience=1,
    finetune__head_learning_rate=0.0,
    finetune__encoder_learning_rate=0.0,
  )
  # Nothing is learnt, so the second look is no better than the first.
  assert "step 4/40" in capsys.readouterr().out
