"""What a run was started with: command, base config, versions, devices.

Stored as run.json beside the config, by the last call that trained.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from scan42_jax import __version__

RUN = "run.json"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain")
"""Whose versions stand beside every run."""


def write_environment(
  workdir: pathlib.Path,
  *,
  command: Sequence[str],
  base_name: str,
  base: Mapping[str, Any],
) -> None:
  """Stores what this call was started with.

  Args:
    workdir: of the run.
    command: program and flags.
    base_name: of the config file, with its argument.
    base: resolved settings of that file, before any flag.
  """
  facts = {
    "command": shlex.join(command),
    "started": now(),
    "base_name": base_name,
    "base": dict(base),
    "environment": environment(),
  }
  (workdir / RUN).write_text(json.dumps(facts, indent=1) + "\n")


def read_environment(workdir: pathlib.Path) -> dict[str, Any]:
  """Reads it back; {} for runs of versions that stored none."""
  try:
    return json.loads((workdir / RUN).read_text())
  except (OSError, ValueError):
    return {}


def environment() -> dict[str, str]:
  """Returns versions and hardware, name -> text; no host or user names."""
  devices = jax.devices()
  facts = {
    "scan42_jax": __version__,
    "python": platform.python_version(),
    **{name: version_of(name) for name in PACKAGES},
    "system": f"{platform.system()} {platform.machine()}",
    "cores": str(len(os.sched_getaffinity(0))),
    "devices": f"{len(devices)} x {devices[0].device_kind}",
    "processes": str(jax.process_count()),
  }
  flags = os.environ.get("XLA_FLAGS", "").strip()
  return facts | ({"XLA_FLAGS": flags} if flags else {})


def version_of(package: str) -> str:
  """Returns the version that is installed, 'absent' if none is."""
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return "absent"


def now() -> str:
  """Returns this minute in UTC."""
  return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
