"""Shared fixtures: reference numbers and real films, where they are at hand."""

import os
import pathlib
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Eight devices to shard over; and hardly any optimization, since these programs
# run for milliseconds and compile for half a minute.
os.environ["XLA_FLAGS"] = " ".join(
  [
    os.environ.get("XLA_FLAGS", ""),
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    # Eight devices meet on two cores that others use, too: 40 s are too few.
    "--xla_cpu_collective_call_terminate_timeout_seconds=600",
  ]
)
# Programs of a process that a test starts serve the processes of others.
os.environ.setdefault(
  "JAX_COMPILATION_CACHE_DIR",
  str(pathlib.Path(tempfile.gettempdir()) / "scan42_jax_test_cache"),
)

import jax
import pytest
from absl import flags

jax.config.update("jax_default_matmul_precision", "highest")
# Eight devices cannot use programs from disk, see program_cache.py.
jax.config.update("jax_enable_compilation_cache", False)
flags.FLAGS.mark_as_parsed()  # Grain workers read absl flags.

_SHARED = pathlib.Path(__file__).parents[1].parent / "shared"


def _folder(variable: str, default: str) -> pathlib.Path:
  folder = pathlib.Path(os.environ.get(variable, _SHARED / default))
  if not folder.is_dir():
    pytest.skip(f"{folder} is absent; set {variable}")
  return folder


@pytest.fixture(scope="session")
def golden_dir() -> pathlib.Path:
  """Folder of reference numbers, see tests/golden/README.md."""
  return _folder("SCAN42_GOLDEN", "golden")


@pytest.fixture(scope="session")
def golden_file():
  """Finds one file of reference numbers: shared folder, else committed."""

  def find(name: str) -> pathlib.Path:
    shared = pathlib.Path(os.environ.get("SCAN42_GOLDEN", _SHARED / "golden"))
    committed = pathlib.Path(__file__).parent / "golden"
    for folder in (shared, committed):
      if (folder / name).exists():
        return folder / name
    pytest.skip(f"{name} is absent; set SCAN42_GOLDEN")

  return find


@pytest.fixture(scope="session")
def real_data_dir() -> pathlib.Path:
  """Folder of small real chest X-ray sets."""
  return _folder("SCAN42_REAL_DATA", "data")
