"""Small raw folders of films for the tests of datasets and preparation."""

import csv
import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image

from scan42_jax.data import assembly
from scan42_jax.data.beam import BeamSettings
from scan42_jax.datasets.reading import Options


def film(seed: int, height: int = 40, width: int = 32) -> np.ndarray:
  """A smooth film of its own, uint8 [height, width]."""
  rng = np.random.default_rng(seed)
  rows, columns = np.mgrid[:height, :width]
  slope, offset = rng.uniform(0.2, 0.8), rng.integers(0, 60)
  values = offset + 150 * (
    slope * rows / height + (1 - slope) * columns / width
  )
  return values.astype(np.uint8)


def write_film(path: pathlib.Path, seed: int, **size: int) -> pathlib.Path:
  """Writes a film as PNG or JPEG."""
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(film(seed, **size)).save(path)
  return path


def write_table(path: pathlib.Path, rows: list[dict]) -> pathlib.Path:
  """Writes a CSV whose columns are the keys of the first row."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("w", newline="") as stream:
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
  return path


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
  """Returns the rows of a CSV file."""
  with path.open(newline="") as stream:
    return list(csv.DictReader(stream))


def prepare(
  source: pathlib.Path,
  data_dir: pathlib.Path,
  *,
  dataset: str = "folder",
  num_workers: int = 0,
  max_broken_percent: float = 100.0,
  beam: BeamSettings | None = None,
  **options,
) -> tuple[dict, list[str]]:
  """Prepares in this process; returns the manifest and what was said.

  Any share of a small tree may be broken, unless a test says otherwise.
  """
  said = []
  manifest = assembly.prepare(
    dataset,
    Options(source=source, max_broken_percent=max_broken_percent, **options),
    data_dir=data_dir,
    num_workers=num_workers,
    beam=beam,
    say=said.append,
  )
  return manifest, said


def prepare_command(*arguments: str) -> list[str]:
  """The command line of the preparation binary."""
  return [sys.executable, "-m", "scan42_jax.data.prepare", *arguments]


def run_prepare(*arguments: str) -> subprocess.CompletedProcess:
  """Runs the preparation binary to its end."""
  return subprocess.run(
    prepare_command(*arguments),
    capture_output=True,
    text=True,
    timeout=120,
    env=environment(),
  )


def environment() -> dict[str, str]:
  """Environment of a child process that imports the package from here."""
  root = str(pathlib.Path(__file__).parents[1])
  return {**os.environ, "PYTHONPATH": root}


def is_running(pid: int) -> bool:
  """Whether a process exists and is no zombie; needs /proc."""
  try:
    with open(f"/proc/{pid}/stat") as stream:
      return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
  except FileNotFoundError:
    return False


def descendants(pid: int) -> list[int]:
  """Returns the children of a process and theirs; needs /proc."""
  tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
  children = [
    int(child) for task in tasks for child in task.read_text().split()
  ]
  return children + [d for child in children for d in descendants(child)]
