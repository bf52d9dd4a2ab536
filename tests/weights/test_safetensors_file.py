"""Safetensors files: every kind of number, memory held once."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from scan42_jax.weights.safetensors_file import read_safetensors

ROOT = pathlib.Path(__file__).parents[2]


def test_bfloat16_weights_are_read(tmp_path):
  header = b'{"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
  data = np.array([0x3FC0, 0xC000], "<u2").tobytes()
  path = tmp_path / "x.safetensors"
  path.write_bytes(len(header).to_bytes(8, "little") + header + data)
  array = read_safetensors(path)["x"]
  np.testing.assert_array_equal(array.astype(np.float32), [1.5, -2.0])
  assert array.dtype.name == "bfloat16"


@pytest.mark.skipif(
  not pathlib.Path("/proc/self/status").exists(), reason="needs Linux"
)
def test_a_file_takes_its_own_size_of_memory(tmp_path):
  path = tmp_path / "x.safetensors"
  arrays = {str(i): np.full(2**20, i, np.float32) for i in range(32)}
  safetensors.numpy.save_file(arrays, path)
  code = (
    "import pathlib, re\n"
    "from scan42_jax.weights.safetensors_file import read_safetensors\n"
    "status = pathlib.Path('/proc/self/status').read_text\n"
    "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+) kB', status())[1])\n"
    "before = peak()\n"
    f"arrays = read_safetensors(pathlib.Path({str(path)!r}))\n"
    "print(len(arrays), 1024 * (peak() - before))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  count, grown = map(int, done.stdout.split())
  assert count == len(arrays)
  assert grown < 1.25 * path.stat().st_size
