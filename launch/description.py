"""What is to be started where, as plain data: configs and hardware -> jobs.

Pure: no files, no clusters, no environment. The launchers beside it translate a
job into what their cluster understands, and nothing more.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence

# Names of jobs become labels of Kubernetes objects, suffixes included.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_OVERRIDE = re.compile(r"--config(\.[A-Za-z_]\w*)+=.*", re.DOTALL)
CHIPS = {
  "cpu": "cpu",
  "a100": "gpu",
  "h100": "gpu",
  "h200": "gpu",
  "v5e": "tpu",
  "v5p": "tpu",
  "v6e": "tpu",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardware:
  """What one job runs on.

  Attributes:
    chip: a key of CHIPS.
    chips: per host; 0 on CPUs.
    hosts: how many alike.
    cpus: cores per host.
    memory_gb: main memory per host.
    hours: longest time, after which a job is stopped and goes on again.
  """

  chip: str = "cpu"
  chips: int = 0
  hosts: int = 1
  cpus: int = 8
  memory_gb: int = 32
  hours: float = 24.0

  def __post_init__(self):
    if self.chip not in CHIPS:
      raise ValueError(f"chip {self.chip!r} is none of {', '.join(CHIPS)}")
    if (self.chips > 0) != (self.kind != "cpu") or self.chips < 0:
      raise ValueError(
        f"{self.chips} chips of kind {self.chip}: CPUs have 0, others some"
      )
    if min(self.hosts, self.cpus, self.memory_gb) < 1 or self.hours <= 0:
      raise ValueError("hosts, cpus, memory_gb and hours must be positive")

  @property
  def kind(self) -> str:
    """Returns cpu, gpu or tpu."""
    return CHIPS[self.chip]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
  """One command on one kind of hardware.

  Attributes:
    name: lower-case letters, digits and '-', at most 40.
    args: what follows `python`.
    hardware: of the job.
    again: exit codes of a stopped but unfinished job: the same command goes on.
  """

  name: str
  args: tuple[str, ...]
  hardware: Hardware
  again: tuple[int, ...]

  def __post_init__(self):
    if not _NAME.fullmatch(self.name):
      raise ValueError(
        f"the name {self.name!r} is not made of at most 40 lower-case letters,"
        " digits and '-', a letter first"
      )
    for arg in self.args:
      # Would end the line of a script; nothing sensible needs them.
      if any(ord(c) < 32 or ord(c) == 127 for c in arg):
        raise ValueError(f"{arg!r} contains a control character")


def pretraining(
  config: str,
  workdir: str,
  data_dir: str,
  *,
  name: str,
  hardware: Hardware,
  overrides: Sequence[str] = (),
  sweep: Sequence[Sequence[str]] = (),
) -> list[Job]:
  """Describes one run, or one for each entry of a sweep.

  Args:
    config: file as scan42_jax.main takes it.
    workdir: of the run; runs of a sweep get `workdir/00`, `workdir/01`, ...
    data_dir: prepared datasets.
    name: of the job; those of a sweep get `-00`, `-01`, ...
    hardware: of each run.
    overrides: of every run, as `config.a.b=value`.
    sweep: overrides of each run, which win over those of every run.

  Raises:
    ValueError: an override is none, or two entries of the sweep are the same.
  """
  entries = [_flags(entry) for entry in sweep]
  if len(set(entries)) < len(entries):
    raise ValueError("two entries of the sweep are the same")
  common = _flags(overrides)
  jobs = []
  for index, entry in enumerate(entries or [()]):
    folder = f"{workdir.rstrip('/')}/{index:02d}" if entries else workdir
    args = (
      "-m",
      "scan42_jax.main",
      f"--config={config}",
      f"--workdir={folder}",
      f"--data_dir={data_dir}",
      *(["--distributed"] if hardware.hosts > 1 else []),
      *common,
      *entry,
    )
    jobs.append(
      Job(
        name=f"{name}-{index:02d}" if entries else name,
        args=args,
        hardware=hardware,
        again=(143,),
      )
    )
  return jobs


def preparation(
  parts: Sequence[Sequence[str]],
  data_dir: str,
  *,
  name: str,
  hardware: Hardware,
) -> list[Job]:
  """Describes the preparation of several datasets, one job each.

  Args:
    parts: flags of scan42_jax.data.prepare for each dataset.
    data_dir: where prepared datasets go.
    name: of the jobs; they get `-00`, `-01`, ...
    hardware: of each; one host.

  Raises:
    ValueError: a part names no dataset, or several hosts are asked for.
  """
  if hardware.hosts > 1:
    raise ValueError("a dataset is prepared on one host: leave --hosts at 1")
  for part in parts:
    if not any(flag.startswith("--dataset=") for flag in part):
      raise ValueError(f"{shlex.join(part)!r} names no --dataset=NAME")
  return [
    Job(
      name=f"{name}-{index:02d}",
      args=(
        "-m",
        "scan42_jax.data.prepare",
        f"--data_dir={data_dir}",
        f"--workers={hardware.cpus}",
        *part,
      ),
      hardware=hardware,
      again=(130, 143),
    )
    for index, part in enumerate(parts)
  ]


def _flags(overrides: Sequence[str]) -> tuple[str, ...]:
  """Returns overrides as flags; `--` may be left out."""
  flags = tuple(f"--{o.removeprefix('--')}" for o in overrides)
  for flag in flags:
    if not _OVERRIDE.fullmatch(flag):
      raise ValueError(f"{flag!r} is not of the form config.field=value")
  return flags
