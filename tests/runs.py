"""Starts the training binary as a user does, on a small prepared dataset."""

import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image

from scan42_jax.data import assembly
from scan42_jax.datasets.reading import Options

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = ROOT / "tests" / "tiny_config.py"


def prepare_films(folder: pathlib.Path, *, count: int = 48) -> pathlib.Path:
  """Prepares random films with a label and returns the data folder."""
  source = folder / "source"
  source.mkdir()
  rng = np.random.default_rng(0)
  rows = ["file,patient_id,split,Nodule"]
  for i in range(count):
    low = rng.integers(0, 256, (9, 8)).astype(np.uint8)
    film = Image.fromarray(low).resize((60 + i % 5, 64))
    film.save(source / f"{i}.png")
    split = ("train", "train", "validation", "test")[i % 4]
    rows.append(f"{i}.png,p{i},{split},{i // 4 % 2}")
  table = folder / "labels.csv"
  table.write_text("\n".join(rows) + "\n")
  assembly.prepare(
    "folder",
    Options(source=source, labels_csv=table),
    data_dir=folder / "data",
    num_workers=0,
    say=lambda line: None,
  )
  return folder / "data"


def command(workdir, data_dir, *flags: str) -> list[str]:
  """Returns the command line of a tiny run."""
  return [
    sys.executable,
    "-m",
    "scan42_jax.main",
    f"--config={CONFIG}",
    f"--workdir={workdir}",
    f"--data_dir={data_dir}",
    *flags,
  ]


def environment() -> dict[str, str]:
  """Returns an environment with one device, unlike that of the tests."""
  flags = "--xla_backend_optimization_level=0"
  return os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT / "tests")}


def run(workdir, data_dir, *flags: str) -> subprocess.CompletedProcess:
  """Runs to the end and captures what a user would see."""
  return subprocess.run(
    command(workdir, data_dir, *flags),
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=600,
  )


def run_until(
  line: str, number, workdir, data_dir, *flags: str
) -> tuple[int, list[str]]:
  """Sends a signal when a line begins with a text; returns code and lines."""
  process = subprocess.Popen(
    command(workdir, data_dir, *flags),
    cwd=ROOT,
    env=environment(),
    stdout=subprocess.PIPE,
    text=True,
  )
  lines = []
  for text in process.stdout:
    lines.append(text.rstrip())
    if text.startswith(line):
      process.send_signal(number)
  return process.wait(timeout=600), lines
