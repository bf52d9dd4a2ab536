"""Looks at versions, devices, attention, memory, disk and file limits."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import resource
import shutil
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from packaging.requirements import Requirement

from scan42_jax import __version__
from scan42_jax.checkup.finding import Finding
from scan42_jax.models.attend import attend

_GIB = 2**30
_LITTLE_MEMORY = 4 * _GIB
_LITTLE_DISK = 10 * _GIB
_FEW_FILES = 4096
_SHOWN = ("jax", "flax", "orbax-checkpoint", "grain", "numpy")


def versions() -> Iterator[Finding]:
  """Compares what is installed with what the package asks for."""
  yield Finding(
    "ok", "scan42_jax", f"{__version__}, Python {platform.python_version()}"
  )
  try:
    wanted = importlib.metadata.requires("scan42-jax") or []
  except importlib.metadata.PackageNotFoundError:
    yield Finding(
      "warn",
      "packages",
      "scan42_jax is not installed, only found here",
      "pip install . in the project's folder",
    )
    return
  wrong = list(filter(None, map(_problem, map(Requirement, wanted))))
  if wrong:
    yield Finding(
      "fail", "packages", "; ".join(wrong), "pip install --upgrade scan42-jax"
    )
    return
  shown = [f"{name} {importlib.metadata.version(name)}" for name in _SHOWN]
  yield Finding("ok", "packages", ", ".join(shown))


def _problem(wanted: Requirement) -> str:
  """Says what is wrong with one package, '' if nothing is."""
  if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
    return ""
  try:
    found = importlib.metadata.version(wanted.name)
  except importlib.metadata.PackageNotFoundError:
    return f"{wanted.name} is absent"
  if wanted.specifier.contains(found, prereleases=True):
    return ""
  return f"{wanted.name} {found} is not {wanted.specifier}"


def devices() -> Iterator[Finding]:
  """Lists JAX's devices, and says if there is one that it does not use."""
  found = jax.devices()
  kinds = sorted({device.device_kind for device in found})
  text = f"{len(found)} x {', '.join(kinds)} ({jax.default_backend()})"
  memory = (found[0].memory_stats() or {}).get("bytes_limit")
  if memory:
    text += f", {memory / _GIB:.0f} GiB each"
  on_cpu = jax.default_backend() == "cpu"
  if on_cpu and pathlib.Path("/proc/driver/nvidia/version").exists():
    yield Finding(
      "warn",
      "devices",
      f"{text}, though this machine has an NVIDIA GPU",
      "pip install 'scan42-jax[gpu]', and unset JAX_PLATFORMS",
    )
  elif on_cpu and list(pathlib.Path("/dev").glob("accel*")):
    yield Finding(
      "warn",
      "devices",
      f"{text}, though this machine has a TPU",
      "pip install 'scan42-jax[tpu]', and unset JAX_PLATFORMS",
    )
  else:
    yield Finding("ok", "devices", f"{text}, {_cores()} cores")


def attention() -> Iterator[Finding]:
  """Says which attention runs, and whether it is right."""
  on_gpu = jax.default_backend() == "gpu"
  way = "cuDNN's fused kernel" if on_gpu else "JAX, in parts"
  rng = np.random.default_rng(0)
  q, k, v = rng.normal(size=(3, 1, 600, 2, 64)).astype(np.float32)
  half = [jnp.asarray(x, jnp.bfloat16) for x in (q, k, v)]
  try:
    found = np.asarray(jax.jit(attend)(*half), np.float32)
  except Exception as error:  # Whatever a driver or compiler raises.
    first = (str(error).splitlines() or [type(error).__name__])[0]
    yield Finding(
      "fail",
      "attention",
      f"{way} does not run: {first[:160]}",
      "update the driver and jax[cuda13], or --config.dtype=float32",
    )
    return
  error = np.abs(found - _plain_attention(q, k, v)).max()
  level, fix = "ok", ""
  if not error < 0.03:  # A bfloat16 has 8 bits; NaN fails as well.
    level, fix = "fail", "use --config.dtype=float32 and report this machine"
  yield Finding(
    level,
    "attention",
    f"bfloat16 by {way}, {error:.4f} from the exact result;"
    " float32 by JAX, in parts",
    fix,
  )


def _plain_attention(q, k, v) -> np.ndarray:
  scores = np.einsum("nqae,nkae->naqk", q, k) / np.sqrt(q.shape[-1])
  weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
  weights /= weights.sum(axis=-1, keepdims=True)
  return np.einsum("naqk,nkae->nqae", weights, v)


def memory() -> Iterator[Finding]:
  """Says how much memory the host has left."""
  free, total = free_memory()
  text = f"{free / _GIB:.1f} GiB free of {total / _GIB:.1f}"
  if free < _LITTLE_MEMORY:
    yield Finding(
      "warn",
      "memory",
      text,
      "the quickstart takes 2 GiB; larger runs: smaller config.batch_size,"
      " fewer config.data.num_threads",
    )
  else:
    yield Finding("ok", "memory", text)


def free_memory() -> tuple[int, int]:
  """Returns bytes of the host that are free, and all; limits count."""
  lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
  known = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
  free, total = known["MemAvailable"], known["MemTotal"]
  limit = pathlib.Path("/sys/fs/cgroup/memory.max")
  used = pathlib.Path("/sys/fs/cgroup/memory.current")
  if limit.is_file() and (text := limit.read_text().strip()).isdigit():
    total = min(total, int(text))
    free = min(free, max(total - int(used.read_text()), 0))
  return free, total


def disk(folders: dict[str, pathlib.Path]) -> Iterator[Finding]:
  """Says how much room there is, by what it is for."""
  for name, folder in folders.items():
    there = next(f for f in (folder, *folder.absolute().parents) if f.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / _GIB:.0f} GiB free for {name}"
    if not os.access(there, os.W_OK):
      yield Finding("warn", "disk", f"{there} cannot be written ({name})")
    elif free < _LITTLE_DISK:
      yield Finding(
        "warn",
        "disk",
        text,
        "films take 0.2 to 0.4 MB each, checkpoints 16 bytes a parameter",
      )
    else:
      yield Finding("ok", "disk", text)


def file_limits() -> Iterator[Finding]:
  """Says how many files may be open at once."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  text = f"{soft} may be open at once, {hard} if asked for"
  if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
    yield Finding("warn", "files", text, f"ulimit -n {min(hard, 65536)}")
  else:
    yield Finding("ok", "files", text)


def _cores() -> int:
  return len(os.sched_getaffinity(0))
