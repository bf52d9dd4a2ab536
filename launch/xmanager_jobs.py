"""Starts jobs through XManager: here, on Vertex AI or on Kubernetes.

  python -m launch.xmanager_jobs --where=local --config=configs/quickstart.py \\
    --workdir=W --data_dir=D --sweep=config.seed=0 --sweep=config.seed=1

One experiment, a work unit for each job. Needs `pip install xmanager`; with
--dry_run it does not. Jobs of several hosts: launch.kubernetes, launch.slurm.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from absl import flags

from launch import request
from launch.description import Job

# Names of XManager's resources.
_DEVICES = {"v5e": "tpu_v5e", "v5p": "tpu_v5p", "v6e": "tpu_v6e"}


def requirements(job: Job) -> dict[str, float]:
  """Returns what a job needs in XManager's words: cores, bytes, devices.

  Raises:
    ValueError: it needs several hosts.
  """
  hardware = job.hardware
  if hardware.hosts > 1:
    raise ValueError(
      "XManager starts one host here: use launch.kubernetes or launch.slurm"
    )
  needed = {"cpu": hardware.cpus, "ram": hardware.memory_gb * 2**30}
  if hardware.chips:
    needed[_DEVICES.get(hardware.chip, hardware.chip)] = hardware.chips
  return needed


def add_jobs(
  experiment: Any, jobs: list[Job], *, where: str, program: str
) -> None:
  """Packages the program once and adds a work unit for each job.

  Args:
    experiment: of XManager.
    jobs: to start.
    where: local, vertex or kubernetes.
    program: container image; an interpreter where `where` is local.
  """
  from xmanager import xm, xm_local

  kind = getattr(xm_local, where.capitalize())
  local = where == "local"
  spec = xm.Binary(path=program) if local else xm.Container(program)
  [executable] = experiment.package([xm.Packageable(spec, kind.Spec())])
  for job in jobs:
    needed = requirements(job)
    executor = kind() if local else kind(xm.JobRequirements(**needed))
    experiment.add(
      xm.Job(executable, executor, name=job.name, args=list(job.args))
    )


def launch(jobs: list[Job], wanted: argparse.Namespace) -> None:
  """Starts an experiment, or prints what it would be of."""
  where, image = wanted.where, wanted.image
  if (where == "local") != (image is None):
    raise ValueError("--image is for --where=vertex and kubernetes, and needed")
  if wanted.dry_run:
    print(f"experiment on {where}" + (f", image {image}" if image else ""))
    for job in jobs:
      needed = " ".join(f"{k}={v:g}" for k, v in requirements(job).items())
      print(f"{job.name} [{needed}]: {shlex.join(('python', *job.args))}")
    return
  program = image or wanted.python
  try:
    from xmanager import xm_local
  except ImportError:
    raise ValueError("pip install xmanager, or --dry_run") from None
  flags.FLAGS(sys.argv[:1])  # XManager has some of its own.
  try:
    with xm_local.create_experiment(jobs[0].name) as experiment:
      add_jobs(experiment, jobs, where=where, program=program)
  except RuntimeError as error:
    raise OSError(f"XManager: {error}") from error


def main() -> None:
  """Launches what the flags ask for."""
  parser = request.Parser(__doc__)
  add = parser.add_argument
  add("--where", default="local", choices=["local", "vertex", "kubernetes"])
  add("--image", help="vertex, kubernetes: made from launch/Dockerfile")
  add("--python", default=sys.executable, help="local: interpreter")
  request.run(parser, launch)


if __name__ == "__main__":
  main()
