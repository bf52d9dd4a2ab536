"""The flags that all launchers share, and the jobs that they ask for."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable

from absl import app, flags

from launch import description
from scan42_jax import command_line

_CONFIG = flags.DEFINE_string("config", None, "Config file of a pretraining.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Its work folder.")
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Folder of the prepared datasets.", required=True
)
_SWEEP = flags.DEFINE_multi_string(
  "sweep",
  [],
  "Overrides of one run, 'config.seed=1 config.batch_size=64'; repeat it, one"
  " for each run.",
)
_PREPARE = flags.DEFINE_multi_string(
  "prepare",
  [],
  "Instead of a pretraining: flags of scan42_jax.data.prepare for one dataset;"
  " repeat it, one for each dataset.",
)
_NAME = flags.DEFINE_string("name", "scan42", "Of the jobs.")
_CHIP = flags.DEFINE_enum("chip", "cpu", description.CHIPS, "Kind of device.")
_CHIPS = flags.DEFINE_integer("chips", 0, "Devices per host.", 0)
_HOSTS = flags.DEFINE_integer("hosts", 1, "Machines of each job.", 1)
_CPUS = flags.DEFINE_integer("cpus", 8, "Cores per host.", 1)
_MEMORY_GB = flags.DEFINE_integer("memory_gb", 32, "Per host.", 1)
_HOURS = flags.DEFINE_float("hours", 24.0, "Longest time of a job.", 0)
DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Print what would be submitted, and submit nothing."
)

PYTHON = flags.DEFINE_string(
  "python", None, "Interpreter where jobs run; default: the launcher's own."
)
IMAGE = flags.DEFINE_string(
  "image", None, "Container image, made from launch/Dockerfile."
)


def python() -> str:
  """Returns the interpreter of jobs that run on this machine or its like."""
  return PYTHON.value or sys.executable


def jobs(overrides: list[str]) -> list[description.Job]:
  """Describes what the flags ask for.

  Args:
    overrides: what follows `--`, for every run.

  Raises:
    ValueError: one line on what is missing or wrong.
  """
  hardware = description.Hardware(
    chip=_CHIP.value,
    chips=_CHIPS.value,
    hosts=_HOSTS.value,
    cpus=_CPUS.value,
    memory_gb=_MEMORY_GB.value,
    hours=_HOURS.value,
  )
  common = {"name": _NAME.value, "hardware": hardware}
  if _PREPARE.value:
    if _CONFIG.value or _SWEEP.value or overrides:
      raise ValueError("--prepare goes with neither --config nor overrides")
    parts = [shlex.split(part) for part in _PREPARE.value]
    return description.preparation(parts, _DATA_DIR.value, **common)
  if not _CONFIG.value or not _WORKDIR.value:
    raise ValueError("name --config and --workdir, or --prepare")
  return description.pretraining(
    _CONFIG.value,
    _WORKDIR.value,
    _DATA_DIR.value,
    overrides=overrides,
    sweep=[shlex.split(entry) for entry in _SWEEP.value],
    **common,
  )


def run(launch: Callable[[list[description.Job]], None]) -> None:
  """Parses flags and launches; a user's mistake ends in one line."""

  def main(argv: list[str]) -> None:
    try:
      launch(jobs(argv[1:]))
    except (ValueError, OSError) as error:
      command_line.explain(error)

  app.run(main, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
  # A config may lie on the cluster alone, so its path is not looked up here.
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    command_line.stop(str(error).strip().splitlines()[-1])


def call(command: list[str], text: str | None = None) -> None:
  """Hands a text to a cluster's own program.

  Raises:
    FileNotFoundError: the program is not installed.
    OSError: it failed; it has said why.
  """
  try:
    code = subprocess.run(command, input=text, text=True).returncode
  except FileNotFoundError:
    raise FileNotFoundError(
      f"{command[0]}: not installed here; --dry_run shows what it would get"
    ) from None
  if code:
    raise OSError(f"{shlex.join(command)} failed with exit code {code}")
