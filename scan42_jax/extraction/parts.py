"""What is finished of a long extraction, in files that survive any kill.

A part holds the results of consecutive films as columns of one `.npz`. It is
written beside, synced and renamed, so it is whole or absent; parts that follow
each other without a gap are the work that need not be done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import time
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Columns = Mapping[str, np.ndarray]
"""Arrays with one row per film, by name."""

_PART_BYTES = 2**26
_PART_SECONDS = 10.0


class Parts:
  """The parts of one extraction, in one folder.

  Use it as a context manager: leaving it, also by an exception, writes what is
  still held.
  """

  def __init__(self, folder: pathlib.Path, identity: Mapping[str, Any]):
    """Describes the parts.

    Args:
      folder: theirs alone, made when they are entered.
      identity: JSON of all that the results depend on.
    """
    self._folder = folder
    self._identity = identity
    self._held: list[Columns] = []
    self._since = time.monotonic()
    self._lock = contextlib.ExitStack()
    self.done = 0
    self._written = 0

  def __enter__(self) -> Parts:
    """Takes over what an earlier process has finished.

    Raises:
      ValueError: it was begun with something else.
      OSError: another process is at work, or the folder cannot be written.
    """
    self._folder.mkdir(parents=True, exist_ok=True)
    lock = self._lock.enter_context((self._folder / "lock").open("w"))
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      self._check_identity()
      self._take_over()
    except BlockingIOError:
      self._lock.close()
      raise OSError(f"another process is writing {self._folder}") from None
    except BaseException:
      self._lock.close()
      raise
    return self

  def __exit__(self, *exception) -> None:
    try:
      self.flush()
    finally:
      self._lock.close()

  def add(self, columns: Columns, *, done: int) -> None:
    """Takes the results of films; they are on disk a few seconds later.

    Args:
      columns: one row per film or per refusal; columns need not be equally
        long.
      done: films of the list that are dealt with after these.
    """
    self._held.append(columns)
    self.done = done
    size = sum(x.nbytes for held in self._held for x in held.values())
    waited = time.monotonic() - self._since
    if size > _PART_BYTES or waited > _PART_SECONDS:
      self.flush()

  def flush(self) -> None:
    """Writes what is held as one part."""
    self._since = time.monotonic()
    if self.done == self._written:
      return
    path = self._folder / f"{self._written:09d}-{self.done:09d}.npz"
    write_beside(path, lambda stream: np.savez(stream, **_joined(self._held)))
    self._held.clear()
    self._written = self.done

  def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
    """Yields the columns of each part on disk, in order.

    Raises:
      ValueError: a part is damaged; names it.
    """
    for path in sorted(self._folder.glob("*.npz")):
      try:
        with np.load(path) as file:
          yield {name: file[name] for name in file.files}
      except (ValueError, EOFError, zipfile.BadZipFile):
        raise ValueError(
          f"{path} is damaged; remove it and run the same command again"
        ) from None

  def _check_identity(self) -> None:
    path = self._folder / "identity.json"
    if not path.exists():
      text = json.dumps(self._identity, indent=2)
      write_beside(path, lambda stream: stream.write(text.encode()))
      return
    differing = difference(json.loads(path.read_text()), self._identity)
    if differing:
      raise ValueError(
        f"{self._folder} was begun with another {differing}; finish it with"
        " the same command, or remove it to start over"
      )

  def _take_over(self) -> None:
    for leftover in self._folder.glob("*.tmp"):
      leftover.unlink()
    for path in sorted(self._folder.glob("*.npz")):
      first, done = map(int, path.stem.split("-"))
      if first == self.done:
        self.done = done
      else:
        path.unlink()  # What follows a part that is gone is done again.
    self._written = self.done


def difference(
  found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> str | None:
  """Names the first entry in which two identities differ; None if none."""
  for name, value in wanted.items():
    if found.get(name) != value:
      return name.replace("_", " ")
  return None


def write_beside(path: pathlib.Path, write) -> None:
  """Calls `write(stream)` and puts the file in place when it is complete."""
  beside = path.with_name(path.name + ".tmp")
  with beside.open("wb") as stream:
    write(stream)
    stream.flush()
    os.fsync(stream.fileno())
  beside.replace(path)


def _joined(columns: list[Columns]) -> dict[str, np.ndarray]:
  """Joins columns of the same names; one that a batch lacks is skipped."""
  names = dict.fromkeys(name for held in columns for name in held)
  return {
    name: np.concatenate([held[name] for held in columns if name in held])
    for name in names
  }
