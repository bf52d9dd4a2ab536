"""Reads PyTorch checkpoints (`torch.save`) without torch and without trust.

A `.pth` is a zip of one pickle and of the numbers that it points at. Nothing of
it is executed (see torch_pickle.py), and nothing grows beyond the file's size.
This module knows no network's layout.
"""

from __future__ import annotations

import os
import pathlib
import struct
import zipfile
from typing import Any

import numpy as np

from scan42_jax.weights.torch_pickle import run_pickle

_MAX_PROGRAM_BYTES = 2**22  # A ViT-g needs 2**17.
_LEGACY_START = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"

# What damaged or hostile bytes raise in zipfile, pickletools and our machine.
_DAMAGE = (
  TypeError,
  LookupError,
  ArithmeticError,
  EOFError,
  OSError,
  RuntimeError,
  struct.error,
  UnicodeError,
  zipfile.BadZipFile,
)


def read_torch_file(path: str | os.PathLike) -> dict[str, Any]:
  """Reads a checkpoint of PyTorch 1.6 or newer.

  Args:
    path: the file.

  Returns:
    What was saved: nested dicts, lists and tuples of numbers and strings, and
    read-only arrays where tensors were. Attributes of dicts are dropped.

  Raises:
    FileNotFoundError: no such file.
    ValueError: no such checkpoint, damaged, or more than plain tensors.
  """
  path = pathlib.Path(path)
  with path.open("rb") as file:
    start = file.read(len(_LEGACY_START))
  if start == _LEGACY_START:
    raise ValueError(
      f"{path}: saved in the format before PyTorch 1.6; load and save it again"
      " with a newer PyTorch"
    )
  if not start.startswith(b"PK"):
    raise ValueError(f"{path}: not a PyTorch checkpoint (no zip archive)")
  content = _read(path)
  if not isinstance(content, dict):
    raise ValueError(
      f"{path}: holds a {type(content).__name__}, not a dict of tensors"
    )
  return content


def _read(path: pathlib.Path) -> Any:
  try:
    with zipfile.ZipFile(path) as archive:
      entries = _Entries(archive, path.stat().st_size)
      return run_pickle(entries.program, entries.storage)
  except _DAMAGE as error:
    reason = " ".join(str(error).split())[:200]
    raise ValueError(
      f"{path}: damaged PyTorch checkpoint ({type(error).__name__}: {reason})"
    ) from error
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


class _Entries:
  """Entries of the zip: the pickle, and storages by key."""

  def __init__(self, archive: zipfile.ZipFile, file_size: int):
    self._archive = archive
    self._sizes = {e.filename: e.file_size for e in archive.infolist()}
    self._storages: dict[str, bytes] = {}
    # PyTorch stores without compression; the rest may unpack to any size.
    kinds = {entry.compress_type for entry in archive.infolist()}
    if kinds - {zipfile.ZIP_STORED}:
      raise ValueError("compressed entries, which torch.save never writes")
    if sum(e.file_size for e in archive.infolist()) > file_size:
      raise ValueError("the zip's entries claim more bytes than the file has")
    self._root = self._find_root()
    if self._sizes[self._root + "data.pkl"] > _MAX_PROGRAM_BYTES:
      raise ValueError(f"data.pkl has more than {_MAX_PROGRAM_BYTES} bytes")
    self.program = archive.read(self._root + "data.pkl")
    order = self._root + "byteorder"
    self._swapped = order in self._sizes and archive.read(order) == b"big"

  def _find_root(self) -> str:
    """Name of the folder in the zip, which is that of the saved file."""
    roots = [
      name.removesuffix("data.pkl")
      for name in self._sizes
      if name.count("/") == 1 and name.endswith("/data.pkl")
    ]
    if len(roots) != 1:
      raise ValueError("not a PyTorch checkpoint (no data.pkl in the zip)")
    return roots[0]

  def storage(self, key: str, dtype: np.dtype, size: int) -> np.ndarray:
    """Returns all numbers of one storage; the zip's checksum holds."""
    name = f"{self._root}data/{key}"
    if name not in self._sizes:
      raise ValueError(f"{name} is missing in the zip")
    if self._sizes[name] != size * dtype.itemsize:
      raise ValueError(
        f"{name} has {self._sizes[name]} bytes, its tensors claim"
        f" {size * dtype.itemsize}"
      )
    if key not in self._storages:
      self._storages[key] = self._archive.read(name)
    data = self._storages[key]
    if not self._swapped:
      return np.frombuffer(data, dtype)
    # Swapped as plain integers: bfloat16 has no foreign byte order.
    integers = np.frombuffer(data, f"u{dtype.itemsize}")
    return integers.byteswap().view(dtype)
