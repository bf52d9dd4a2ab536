"""Starts the training binary as a user does, on a small prepared dataset."""

import concurrent.futures
import json
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping

import jax
import numpy as np
from PIL import Image

from scan42_jax.checkpoint import Checkpoints
from scan42_jax.data import assembly
from scan42_jax.datasets.reading import Options
from scan42_jax.program import state_shapes
from scan42_jax.settings import from_json

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


def environment(devices: int = 1) -> dict[str, str]:
  """Returns an environment with few devices, unlike that of the tests."""
  flags = (
    f"--xla_force_host_platform_device_count={devices}"
    " --xla_backend_optimization_level=0"
    " --xla_cpu_collective_call_terminate_timeout_seconds=600"
  )
  paths = {"PYTHONPATH": str(ROOT / "tests")}
  return os.environ | {"XLA_FLAGS": flags} | paths


def run(
  workdir,
  data_dir,
  *flags: str,
  devices: int = 1,
  preexec_fn: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess:
  """Runs to the end and captures what a user would see."""
  return subprocess.run(
    command(workdir, data_dir, *flags),
    cwd=ROOT,
    env=environment(devices),
    capture_output=True,
    text=True,
    timeout=600,
    preexec_fn=preexec_fn,
  )


def module(name: str, *args: str) -> subprocess.CompletedProcess:
  """Runs another binary of the package to its end."""
  return subprocess.run(
    [sys.executable, "-m", f"scan42_jax.{name}", *args],
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=600,
  )


def start(
  workdir, data_dir, *flags: str, variables: Mapping[str, str] | None = None
) -> subprocess.Popen:
  """Starts a run whose output is to be read while it goes."""
  return subprocess.Popen(
    command(workdir, data_dir, *flags),
    cwd=ROOT,
    env=environment() | dict(variables or {}),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def wait_for(process: subprocess.Popen, text: str) -> None:
  """Reads a process's output up to a line that begins with a text."""
  for line in process.stdout:
    if line.startswith(text):
      return
  raise AssertionError(f"no line {text!r}: {process.stderr.read()}")


def start_many(
  count: int, workdir, data_dir, *flags: str, told_by: str = "flags"
) -> list[subprocess.Popen]:
  """Starts several processes of one run, which meet on this machine.

  They are told where by flags, by JAX's variables or, as in a job, by SLURM's.
  """
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  started = []
  for i in range(count):
    where, variables = {
      "flags": (
        (
          f"--coordinator=localhost:{port}",
          f"--num_processes={count}",
          f"--process_id={i}",
        ),
        {},
      ),
      "variables": (
        ("--distributed",),
        {
          "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
          "JAX_NUM_PROCESSES": str(count),
          "JAX_PROCESS_ID": str(i),
        },
      ),
      "slurm": (
        ("--distributed",),
        {
          "JAX_COORDINATOR_PORT": str(port),
          "SLURM_JOB_ID": "7",
          "SLURM_STEP_NODELIST": "localhost",
          "SLURM_NTASKS": str(count),
          "SLURM_PROCID": str(i),
          "SLURM_LOCALID": str(i),
          "SLURM_STEP_NUM_NODES": "1",
        },
      ),
    }[told_by]
    started.append(
      start(workdir, data_dir, *where, *flags, variables=variables)
    )
  return started


def finish_many(
  processes: list[subprocess.Popen], timeout_s: float = 600
) -> list[subprocess.CompletedProcess]:
  """Waits for all processes of a run and returns what each said."""
  done = []
  with concurrent.futures.ThreadPoolExecutor(len(processes)) as pool:
    outputs = pool.map(lambda p: p.communicate(timeout=timeout_s), processes)
    for process, (out, err) in zip(processes, outputs, strict=True):
      done.append(
        subprocess.CompletedProcess(process.args, process.returncode, out, err)
      )
  return done


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


def last_state(workdir):
  """Returns the newest state of a work folder, on the host."""
  settings = from_json(json.loads((workdir / "config.json").read_text()))
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  template = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
    state_shapes(settings),
  )
  checkpoints = Checkpoints(workdir, keep=9)
  state = checkpoints.restore(template, accept=lambda config: None)
  checkpoints.close()
  return jax.device_get(state)
