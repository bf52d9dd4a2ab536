"""Writes checkpoints as `torch.save` lays them out, and broken ones."""

import pathlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_STORAGES = {"float32": "FloatStorage", "int64": "LongStorage"}


def write_zip(
  path: pathlib.Path,
  program: bytes,
  storages: Mapping[str, bytes] | None = None,
  *,
  byteorder: bytes = b"little",
  compression: int = zipfile.ZIP_STORED,
) -> pathlib.Path:
  """Writes a checkpoint of any pickle and any storages."""
  with zipfile.ZipFile(path, "w", compression) as archive:
    archive.writestr("archive/data.pkl", program)
    archive.writestr("archive/byteorder", byteorder)
    archive.writestr("archive/version", b"3\n")
    for key, data in (storages or {}).items():
      archive.writestr(f"archive/data/{key}", data)
  return path


def write_checkpoint(
  path: pathlib.Path, content: Any, *, byteorder: str = "little"
) -> pathlib.Path:
  """Writes nested dicts of arrays, strings and integers."""
  storages: dict[str, bytes] = {}

  def store(array: np.ndarray) -> bytes:
    key = str(len(storages))
    mark = "<" if byteorder == "little" else ">"
    swapped = array.astype(array.dtype.newbyteorder(mark))
    storages[key] = swapped.tobytes()
    return tensor(
      array.shape, key=key, kind=_STORAGES[array.dtype.name], size=array.size
    )

  program = b"\x80\x02" + _dump(content, store) + b"."
  return write_zip(path, program, storages, byteorder=byteorder.encode())


def tensor(
  shape: tuple[int, ...],
  *,
  key: str = "0",
  kind: str = "FloatStorage",
  size: int,
  offset: int = 0,
  strides: tuple[int, ...] | None = None,
) -> bytes:
  """Returns the instructions that describe one tensor."""
  if strides is None:
    strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
  storage = (
    b"("
    + integer_or_text("storage")
    + name("torch", kind)
    + b"".join(integer_or_text(x) for x in (key, "cpu", size))
    + b"tQ"
  )
  return (
    name("torch._utils", "_rebuild_tensor_v2")
    + b"("
    + storage
    + integer_or_text(offset)
    + integers(shape)
    + integers(strides)
    + b"\x89"  # requires_grad=False
    + name("collections", "OrderedDict")
    + b")RtR"
  )


def name(module: str, attribute: str) -> bytes:
  """Returns the instruction that looks a name up."""
  return f"c{module}\n{attribute}\n".encode()


def integers(values: tuple[int, ...]) -> bytes:
  """Returns the instructions that make a tuple."""
  return b"(" + b"".join(integer_or_text(x) for x in values) + b"t"


def integer_or_text(value: int | str) -> bytes:
  """Returns the instruction that pushes a value."""
  if isinstance(value, int):
    data = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data
  return b"X" + struct.pack("<I", len(value)) + value.encode()


def _dump(content: Any, store: Callable[[np.ndarray], bytes]) -> bytes:
  if isinstance(content, dict):
    items = (integer_or_text(k) + _dump(v, store) for k, v in content.items())
    return b"}(" + b"".join(items) + b"u"
  if isinstance(content, np.ndarray):
    return store(content)
  return integer_or_text(content)
