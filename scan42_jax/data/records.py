"""The journal of a preparation: finished readings that survive any kill.

A chunk is written beside, synced and renamed, so it is whole or absent. It is
read by position, since a release does not fit into memory.
"""

import dataclasses
import json
import os
import pathlib
import struct
import time
import uuid
from collections.abc import Iterable, Iterator

from scan42_jax.datasets.reading import Reading

_CHUNK_READINGS = 256
_CHUNK_SECONDS = 3.0
_LENGTH = struct.Struct("<Q")


@dataclasses.dataclass(frozen=True)
class Place:
  """Where the encoded film of a reading lies."""

  path: pathlib.Path
  offset: int


class Journal:
  """Readings in chunk files of one folder.

  Use it as a context manager: leaving it, also by an exception, writes what is
  still held.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._held: list[Reading] = []
    self._since = time.monotonic()

  def __enter__(self) -> "Journal":
    self._folder.mkdir(parents=True, exist_ok=True)
    for leftover in self._folder.glob("*.tmp"):
      leftover.unlink()
    return self

  def __exit__(self, *exception) -> None:
    self.flush()

  def add(self, reading: Reading) -> None:
    """Takes a reading; it is on disk a few seconds later at most."""
    self._held.append(reading)
    waited = time.monotonic() - self._since
    if len(self._held) >= _CHUNK_READINGS or waited > _CHUNK_SECONDS:
      self.flush()

  def flush(self) -> None:
    """Writes what is held as one chunk."""
    self._since = time.monotonic()
    if not self._held:
      return
    taken = [int(p.stem) for p in self._folder.glob("[0-9]*.chunk")]
    name = f"{max(taken, default=-1) + 1:08d}"
    write_chunk(self._folder, name, self._held)
    self._held.clear()

  def readings(self) -> Iterator[tuple[Reading, Place]]:
    """Yields all readings on disk, without their pictures, and their places."""
    for path in self._chunks():
      with path.open("rb") as stream:
        while prefix := stream.read(_LENGTH.size):
          place = Place(path, stream.tell() - _LENGTH.size)
          header = _read_header(stream, prefix)
          sizes = header.pop("sizes")
          stream.seek(sum(sizes.values()), os.SEEK_CUR)
          yield Reading(**header), place

  def _chunks(self) -> list[pathlib.Path]:
    return sorted(self._folder.glob("*.chunk"))


def write_chunk(
  folder: pathlib.Path, name: str, readings: Iterable[Reading]
) -> None:
  """Writes readings to a chunk, which replaces one of that name.

  Args:
    folder: of the journal.
    name: of the chunk; numbers are taken by Journal.
    readings: what to write.
  """
  beside = folder / f"{name}-{uuid.uuid4().hex}.tmp"
  with beside.open("wb") as stream:
    for reading in readings:
      stream.write(_encode(reading))
    stream.flush()
    os.fsync(stream.fileno())
  beside.rename(folder / f"{name}.chunk")


def load_reading(place: Place) -> Reading:
  """Reads one reading with its pictures."""
  with place.path.open("rb") as stream:
    stream.seek(place.offset)
    header = _read_header(stream, stream.read(_LENGTH.size))
    sizes = header.pop("sizes")
    parts = {name: stream.read(size) for name, size in sizes.items()}
  return Reading(**header, image=parts.pop("image"), masks=parts)


def _encode(reading: Reading) -> bytes:
  header = dataclasses.asdict(reading)
  parts = {"image": header.pop("image"), **header.pop("masks")}
  header["sizes"] = {name: len(part) for name, part in parts.items()}
  text = json.dumps(header).encode()
  return b"".join([_LENGTH.pack(len(text)), text, *parts.values()])


def _read_header(stream, prefix: bytes) -> dict:
  return json.loads(stream.read(_LENGTH.unpack(prefix)[0]))
