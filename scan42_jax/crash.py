"""The crash bundle: what it takes to go through a run's last step once more.

Settings, versions, the last metrics to the last bit, and which films the last
batch held: by number, never by name. No pixels, no parameters.
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from scan42_jax import whole_files

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "grain", "numpy", "scan42-jax")


def bundle_file(workdir: pathlib.Path, process: int = 0) -> pathlib.Path:
  """Names the bundle that a process writes."""
  return workdir / ("crash.json" if process == 0 else f"crash_{process}.json")


def write_bundle(
  workdir: pathlib.Path,
  error: BaseException,
  *,
  step: int,
  metrics: Sequence[tuple[int, Mapping[str, float]]],
  facts: Mapping[str, Any],
) -> None:
  """Writes what is known of a run that ends by an error.

  Args:
    workdir: of the run.
    error: that ends it.
    step: that was begun last.
    metrics: of the last steps, oldest first.
    facts: what the run adds: settings, data, films of that step.
  """
  bundle = {
    "error": f"{type(error).__name__}: {error}",
    "step": step,
    "environment": environment(),
    "metrics": [
      # As texts, for JSON has no NaN; `repr` gives every bit back.
      {"step": n, **{name: repr(value) for name, value in values.items()}}
      for n, values in metrics
    ],
    **facts,
  }
  whole_files.write_text(
    bundle_file(workdir, jax.process_index()), json.dumps(bundle, indent=1)
  )


def read_bundle(workdir: pathlib.Path) -> dict[str, Any]:
  """Reads process 0's bundle; {} if no error ended the run.

  Raises:
    ValueError: it is damaged.
  """
  file = bundle_file(workdir)
  if not file.is_file():
    return {}
  try:
    return json.loads(file.read_text())
  except ValueError as error:
    raise ValueError(f"{file} is damaged ({error})") from error


def recorded_metrics(bundle: Mapping[str, Any], step: int) -> dict[str, float]:
  """Returns a step's metrics as floats; {} if the bundle has none of it."""
  for row in bundle.get("metrics", ()):
    if row["step"] == step:
      return {name: float(v) for name, v in row.items() if name != "step"}
  return {}


def environment() -> dict[str, Any]:
  """Names what a step's last bits depend on."""
  device = jax.devices()[0]
  return {
    "python": platform.python_version(),
    **{name: _version(name) for name in _PACKAGES},
    "device": device.device_kind,
    "devices": jax.device_count(),
    "processes": jax.process_count(),
  }


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return "unknown"
