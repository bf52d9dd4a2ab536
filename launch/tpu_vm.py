"""Runs a job on a TPU VM slice, from a machine that has gcloud.

  python -m launch.tpu_vm --config=configs/vitb.py --workdir=W --data_dir=D \\
    --chip=v5e --chips=4 --hosts=4 --tpu=NAME --zone=Z [--dry_run]

The slice must exist and hold the project. W and D must be the same for all of
its hosts: a mounted bucket or file share.
"""

from __future__ import annotations

import argparse
import re
import shlex

from launch import request
from launch.description import Job


def script(
  jobs: list[Job], tpu: str, *, zone: str, root: str, python: str
) -> str:
  """Writes a script that runs jobs one after the other on all hosts.

  A job that was stopped and saved is started again by the hosts themselves:
  what gcloud returns for several of them need not be their exit code.

  Raises:
    ValueError: the hardware is no TPU, or the slice's name is none.
  """
  if jobs[0].hardware.kind != "tpu":
    raise ValueError(f"{jobs[0].hardware.chip} is no TPU: set --chip, --chips")
  if not re.fullmatch(r"[a-z][-a-z0-9]*", tpu):
    raise ValueError(f"--tpu={tpu!r} is not the name of a slice")
  lines = ["#!/bin/bash", "set -eu"]
  for job in jobs:
    command = [
      *("gcloud", "compute", "tpus", "tpu-vm", "ssh", tpu, f"--zone={zone}"),
      *("--worker=all", f"--command={_remote(job, root, python)}"),
    ]
    lines += [f"echo {job.name}", shlex.join(command)]
  return "\n".join(lines) + "\n"


def _remote(job: Job, root: str, python: str) -> str:
  """Returns a POSIX shell's line for one host."""
  again = "|".join(map(str, job.again))
  return (
    f"cd {shlex.quote(root)} && "
    f"until {shlex.join([python, *job.args])}; do code=$?; "
    f'case "$code" in {again}) ;; *) exit "$code" ;; esac; done'
  )


def launch(jobs: list[Job], wanted: argparse.Namespace) -> None:
  """Runs the script here, or prints it."""
  text = script(
    jobs,
    wanted.tpu,
    zone=wanted.zone,
    root=wanted.root,
    python=wanted.python,
  )
  if wanted.dry_run:
    print(text, end="")
  else:
    request.call(["bash", "-s"], text)


def main() -> None:
  """Launches what the flags ask for."""
  parser = request.Parser(__doc__)
  add = parser.add_argument
  add("--tpu", required=True, help="name of the slice")
  add("--zone", required=True, help="of the slice")
  add("--root", default="scan42_jax", help="folder of the project there")
  add("--python", default="python3", help="interpreter on the hosts")
  request.run(parser, launch)


if __name__ == "__main__":
  main()
