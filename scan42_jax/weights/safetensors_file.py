"""Safetensors files, read array by array.

The library maps a file into memory, and what was touched of a map counts as
used memory until it is closed. So each array gets a map of its own, and a file
of any size takes its own size and no more.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import safetensors


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads all arrays of one file.

  Raises:
    ValueError: damaged, or numbers of a kind that numpy has not.
  """
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      names = list(file.keys())
    arrays = {}
    for name in names:
      with safetensors.safe_open(path, framework="numpy") as file:
        arrays[name] = file.get_tensor(name)
    return arrays
  except (safetensors.SafetensorError, TypeError) as error:
    raise ValueError(f"{path}: damaged safetensors file ({error})") from error


def read_metadata(path: pathlib.Path) -> Mapping[str, str]:
  """Reads what a file states besides its arrays."""
  with safetensors.safe_open(path, framework="numpy") as file:
    return file.metadata() or {}
