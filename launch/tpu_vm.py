"""Runs a job on a TPU VM slice, from a machine that has gcloud.

  python -m launch.tpu_vm --config=configs/vitb.py --workdir=W --data_dir=D \\
    --chip=v5e --chips=4 --hosts=4 --tpu=NAME --zone=Z [--dry_run]

The slice must exist and hold the project. W and D must be the same for all of
its hosts: a mounted bucket or file share.
"""

from __future__ import annotations

import re
import shlex

from absl import flags

from launch import request
from launch.description import Job

_TPU = flags.DEFINE_string("tpu", None, "Name of the slice.")
_ZONE = flags.DEFINE_string("zone", None, "Of the slice.")
_ROOT = flags.DEFINE_string(
  "root", "scan42_jax", "Folder of the project on the hosts."
)


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


def launch(jobs: list[Job]) -> None:
  """Runs the script here, or prints it."""
  if not _TPU.value or not _ZONE.value:
    raise ValueError("name --tpu and --zone")
  text = script(
    jobs,
    _TPU.value,
    zone=_ZONE.value,
    root=_ROOT.value,
    python=request.PYTHON.value or "python3",
  )
  if request.DRY_RUN.value:
    print(text, end="")
  else:
    request.call(["bash", "-s"], text)


if __name__ == "__main__":
  request.run(launch)
