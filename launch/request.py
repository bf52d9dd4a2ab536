"""The flags that all launchers share, and the jobs that they ask for.

Parsed by argparse: the flags of absl are one set for a whole process, in which
these would meet those of the program that is launched.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections.abc import Callable, Sequence
from typing import NoReturn

from launch import description
from scan42_jax import command_line


class Parser(argparse.ArgumentParser):
  """Parses the flags of a launcher; whatever is wrong is one line.

  Args:
    text: what the launcher is for.
  """

  def __init__(self, text: str):
    super().__init__(
      description=text,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )
    add = self.add_argument
    add("--config", help="config file of a pretraining")
    add("--workdir", help="its work folder")
    add("--data_dir", required=True, help="folder of the prepared datasets")
    add("--sweep", action="append", default=[], help="overrides of one run")
    add(
      "--prepare",
      action="append",
      default=[],
      help="instead: flags of scan42_jax.data.prepare for one dataset",
    )
    add("--name", default="scan42", help="of the jobs")
    add("--chip", default="cpu", choices=description.CHIPS)
    add("--chips", type=int, default=0, help="per host")
    add("--hosts", type=int, default=1, help="of each job")
    add("--cpus", type=int, default=8, help="per host")
    add("--memory_gb", type=int, default=32, help="per host")
    add("--hours", type=float, default=24.0, help="longest time of a job")
    add("--dry_run", action="store_true", help="print, and submit nothing")
    add("overrides", nargs="*", help="of every run, after --")

  def error(self, message: str) -> NoReturn:
    """Ends as the package's own binaries do."""
    command_line.stop(message)


def jobs(wanted: argparse.Namespace) -> list[description.Job]:
  """Describes what the flags ask for.

  Raises:
    ValueError: one line on what is missing or wrong.
  """
  hardware = description.Hardware(
    chip=wanted.chip,
    chips=wanted.chips,
    hosts=wanted.hosts,
    cpus=wanted.cpus,
    memory_gb=wanted.memory_gb,
    hours=wanted.hours,
  )
  common = {"name": wanted.name, "hardware": hardware}
  if wanted.prepare:
    if wanted.config or wanted.sweep or wanted.overrides:
      raise ValueError("--prepare goes with neither --config nor overrides")
    parts = [shlex.split(part) for part in wanted.prepare]
    return description.preparation(parts, wanted.data_dir, **common)
  if not wanted.config or not wanted.workdir:
    raise ValueError("name --config and --workdir, or --prepare")
  return description.pretraining(
    wanted.config,
    wanted.workdir,
    wanted.data_dir,
    overrides=wanted.overrides,
    sweep=[shlex.split(entry) for entry in wanted.sweep],
    **common,
  )


def run(
  parser: Parser,
  launch: Callable[[list[description.Job], argparse.Namespace], None],
) -> None:
  """Parses flags and launches; a user's mistake ends in one line."""
  wanted = parser.parse_args()
  try:
    launch(jobs(wanted), wanted)
  except (ValueError, OSError) as error:
    command_line.explain(error)


def call(command: Sequence[str], text: str) -> None:
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
