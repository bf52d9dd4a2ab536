"""Programs are kept on disk where they can be read back."""

import subprocess
import sys

import pytest
import runs

_COMPILE = """
import pathlib, sys
import jax
from scan42_jax.program_cache import keep_programs
keep_programs(pathlib.Path(sys.argv[1]))
jax.jit(lambda x: x + 1)(1.0)
"""


def _kept(folder, devices, variables):
  least = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  inherited = runs.environment(devices)
  inherited.pop("JAX_COMPILATION_CACHE_DIR", None)
  subprocess.run(
    [sys.executable, "-c", _COMPILE, str(folder / "ours")],
    env=inherited | least | variables,
    check=True,
  )
  return sorted(path.name for path in folder.glob("*") if any(path.iterdir()))


def test_one_device_keeps_its_programs(tmp_path):
  assert _kept(tmp_path, 1, {}) == ["ours"]


def test_the_users_own_cache_is_used(tmp_path):
  own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
  assert _kept(tmp_path, 1, own) == ["own"]


@pytest.mark.parametrize("has_own", [False, True])
def test_several_cpu_devices_keep_none(tmp_path, has_own):
  own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
  assert _kept(tmp_path, 8, own if has_own else {}) == []
