"""Submits jobs to SLURM; several become one array.

  python -m launch.slurm --config=configs/vitb.py --workdir=W --data_dir=D \\
    --chip=h100 --chips=8 --hosts=2 --partition=P [--dry_run] [-- OVERRIDES]

W, D and the repository must be seen by all nodes.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import re
import shlex
import sys

from launch import request
from launch.description import Job

_ROOT = pathlib.Path(__file__).parents[1]
# Saving a large state takes its time; then the job must have ended.
_WARNING_S = 120


def script(
  jobs: list[Job],
  *,
  python: str,
  root: str,
  partition: str | None = None,
  account: str | None = None,
  at_once: int | None = None,
) -> str:
  """Writes the batch script of jobs on the same hardware.

  Before its time is up, and when it is preempted, a job's processes get
  SIGTERM, save, and end with a code that puts the job back into the queue.

  Raises:
    ValueError: TPUs, or a partition or account of forbidden characters.
  """
  lines = _directives(jobs, partition, account, at_once)
  lines += ["set -u", f"cd {shlex.quote(root)} || exit 1"]
  lines += ['case "${SLURM_ARRAY_TASK_ID:-0}" in']
  for index, job in enumerate(jobs):
    lines += [f"{index}) command=({shlex.join([python, *job.args])}) ;;"]
  again = "|".join(
    rf"{code}\ *{state}*"
    for code in jobs[0].again
    for state in ("JobState=RUNNING", "Reason=TimeLimit")
  )
  lines += [
    "*) exit 1 ;;",
    "esac",
    "# The shell has to outlive a signal that all processes of a job get.",
    "trap : TERM",
    'srun "${command[@]}"',
    "code=$?",
    "# A job that somebody cancelled is neither running nor out of time.",
    'state=$(scontrol --oneliner show job "$SLURM_JOB_ID")',
    'case "$code $state" in',
    f'{again}) scontrol requeue "$SLURM_JOB_ID" ;;',
    "esac",
    'exit "$code"',
  ]
  return "\n".join(lines) + "\n"


def _directives(
  jobs: list[Job],
  partition: str | None,
  account: str | None,
  at_once: int | None,
) -> list[str]:
  hardware = jobs[0].hardware
  if hardware.kind == "tpu":
    raise ValueError("SLURM has no TPUs: use launch.tpu_vm or a GPU chip")
  # JAX gives every process of a SLURM job one device, if there are several.
  tasks = max(hardware.chips, 1) if hardware.hosts > 1 else 1
  options = {
    "job-name": jobs[0].name,
    "nodes": hardware.hosts,
    "ntasks-per-node": tasks,
    "cpus-per-task": max(hardware.cpus // tasks, 1),
    "mem": f"{hardware.memory_gb}G",
    "time": math.ceil(hardware.hours * 60),  # Minutes.
    "open-mode": "append",
    "signal": f"TERM@{_WARNING_S}",
  }
  if hardware.kind == "gpu":
    options["gpus-per-node"] = f"{hardware.chip}:{hardware.chips}"
  if len(jobs) > 1:
    limit = f"%{at_once}" if at_once else ""
    options["array"] = f"0-{len(jobs) - 1}{limit}"
  for name, value in (("partition", partition), ("account", account)):
    if value is None:
      continue
    # Directives cannot be quoted.
    if not re.fullmatch(r"[\w.,-]+", value):
      raise ValueError(f"--{name}={value!r} has forbidden characters")
    options[name] = value
  lines = [f"#SBATCH --{name}={value}" for name, value in options.items()]
  return ["#!/bin/bash", *lines, "#SBATCH --requeue"]


def launch(jobs: list[Job], wanted: argparse.Namespace) -> None:
  """Submits jobs, or prints their script."""
  text = script(
    jobs,
    python=wanted.python,
    root=str(_ROOT),
    partition=wanted.partition,
    account=wanted.account,
    at_once=wanted.at_once,
  )
  if wanted.dry_run:
    print(text, end="")
  else:
    request.call(["sbatch"], text)


def main() -> None:
  """Launches what the flags ask for."""
  parser = request.Parser(__doc__)
  add = parser.add_argument
  add("--partition", help="of the cluster")
  add("--account", help="that is charged")
  add("--at_once", type=int, help="jobs of an array that run together")
  add("--python", default=sys.executable, help="interpreter on the nodes")
  request.run(parser, launch)


if __name__ == "__main__":
  main()
