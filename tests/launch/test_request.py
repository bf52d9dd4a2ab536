"""The launchers as a user starts them, and the image that they run."""

import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
RUN = ("--config=c.py", "--workdir=w", "--data_dir=d")


def _call(launcher, *args):
  return subprocess.run(
    [sys.executable, "-m", f"launch.{launcher}", *args],
    cwd=ROOT,
    env={"PATH": "/nonexistent"},
    capture_output=True,
    text=True,
    timeout=120,
  )


@pytest.mark.parametrize(
  "launcher, flags",
  [
    ("slurm", ()),
    ("kubernetes", ("--image=i",)),
    ("tpu_vm", ("--chip=v5e", "--chips=4", "--tpu=t", "--zone=z")),
    ("xmanager_jobs", ()),
  ],
)
def test_a_dry_run_shows_every_job_and_submits_nothing(launcher, flags):
  done = _call(
    launcher,
    *(*RUN, *flags, "--dry_run", "--name=abc"),
    *("--sweep=config.seed=1 config.batch_size=8", "--sweep=config.seed=2"),
    *("--", "--config.loop.log_every=7"),
  )
  assert done.returncode == 0, done.stderr
  for text in ("config.batch_size=8", "config.seed=2", "log_every=7", "abc-00"):
    assert text in done.stdout
  if launcher == "kubernetes":
    assert len(list(yaml.safe_load_all(done.stdout))) == 2


def test_preparations():
  done = _call(
    "slurm",
    "--data_dir=d",
    "--prepare=--dataset=nih_cxr8 --source='/r/a b'",
    "--prepare=--dataset=brax",
    "--dry_run",
  )
  assert "#SBATCH --array=0-1" in done.stdout
  assert "'--source=/r/a b'" in done.stdout


@pytest.mark.parametrize(
  "launcher, flags, text",
  [
    ("slurm", RUN, "sbatch: not installed here"),
    ("kubernetes", (*RUN, "--image=i"), "kubectl: not installed here"),
    ("kubernetes", RUN, "required: --image"),
    ("tpu_vm", RUN, "required: --tpu, --zone"),
    ("xmanager_jobs", (*RUN, "--where=vertex"), "--image"),
    ("slurm", ("--data_dir=d",), "name --config and --workdir, or --prepare"),
    ("slurm", (*RUN, "--chip=abacus"), "invalid choice"),
    ("slurm", (*RUN, "--chip=h100"), "CPUs have 0, others some"),
    ("slurm", (*RUN, "--", "seed=1"), "config.field=value"),
    ("slurm", (*RUN, "--prepare=--dataset=a"), "--prepare goes with neither"),
    ("slurm", (*RUN, "--name=A b"), "lower-case"),
    ("slurm", (*RUN, "--sweep='config.a=1"), "No closing quotation"),
  ],
)
def test_mistakes_are_one_line(launcher, flags, text):
  done = _call(launcher, *flags)
  assert done.returncode == 1
  assert done.stderr.startswith("error: ")
  assert len(done.stderr.splitlines()) == 1
  assert text in done.stderr


def test_the_image_gets_the_program_and_nothing_else():
  lines = (ROOT / "launch" / "Dockerfile").read_text().splitlines()
  copied = {
    name
    for line in lines
    if line.startswith(("COPY", "ADD"))
    for name in line.split()[1:-1]
  }
  allowed = (ROOT / "launch" / "Dockerfile.dockerignore").read_text()
  rules = [line for line in allowed.splitlines() if not line.startswith("#")]
  # All is kept from the builder but what is named, and what is named is used.
  assert rules[0] == "*"
  assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
  for name in copied:
    assert (ROOT / name).exists()
