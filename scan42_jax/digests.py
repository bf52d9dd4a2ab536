"""Whether the files of a folder are still those that were written.

A checkpoint's digests are written beside it and compared before it is used.
Needs nothing but the standard library, so that a run can be looked at fast.
"""

from __future__ import annotations

import hashlib
import json
import pathlib

_FILE = "sha256.json"
# Orbax writes its own marks of a step's end after the digests.
_NOT_DIGESTED = (_FILE, "_CHECKPOINT_METADATA", "commit_success.txt")


def write(folder: pathlib.Path) -> None:
  """Writes the digests of all files below a folder into it."""
  (folder / _FILE).write_text(json.dumps(_digests(folder), indent=1))


def verify(folder: pathlib.Path) -> None:
  """Compares a folder's files with the digests written beside them.

  Raises:
    ValueError: a file differs or is missing.
  """
  if not (folder / _FILE).exists():
    raise ValueError(f"{folder / _FILE} is missing")
  expected = json.loads((folder / _FILE).read_text())
  found = _digests(folder)
  for name, digest in expected.items():
    if found.get(name) != digest:
      raise ValueError(f"{folder / name} is not what was written")


def _digests(folder: pathlib.Path) -> dict[str, str]:
  """SHA-256 of every file below a folder, by relative path."""
  digests = {}
  for path in sorted(folder.rglob("*")):
    if path.is_file() and path.name not in _NOT_DIGESTED:
      with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
      digests[str(path.relative_to(folder))] = digest
  return digests
