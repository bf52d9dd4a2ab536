"""Looks at the prepared datasets of a folder: counts, sizes, hashes."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

from scan42_jax.checkup.finding import Finding
from scan42_jax.data import finished, sources


def datasets(data_dir: pathlib.Path, *, seconds: float) -> Iterator[Finding]:
  """Compares every dataset with its manifest.

  Sizes of all shards are compared, and hashes of as many as the time allows,
  small datasets first.

  Args:
    data_dir: folder of the prepared datasets.
    seconds: for all hashes.
  """
  try:
    names = sources.dataset_names(data_dir)
  except OSError as error:
    yield Finding(
      "warn",
      "data",
      str(error),
      "the quickstart makes its films itself; for your own see"
      " scan42 prepare --help",
    )
    return
  folders = [sources.dataset_folder(data_dir, name) for name in names]
  end = time.monotonic() + seconds
  for folder in sorted(folders, key=_bytes):
    yield _look(folder, end)


def _bytes(folder: pathlib.Path) -> int:
  shards = finished.read_manifest(folder).get("shards", {})
  return sum(facts["bytes"] for facts in shards.values())


def _look(folder: pathlib.Path, end: float) -> Finding:
  name = folder.parent.name
  manifest = finished.read_manifest(folder)
  shards = manifest.get("shards", {})
  fix = "give the scan42 prepare command that made it once more"
  if not shards:
    return Finding("fail", name, f"{folder} has no sound manifest", fix)
  wrong, hashed = [], 0
  for shard, facts in shards.items():
    path = folder / shard
    if not path.is_file():
      wrong.append(f"{shard} is absent")
    elif path.stat().st_size != facts["bytes"]:
      wrong.append(f"{shard} has {path.stat().st_size} bytes")
    elif time.monotonic() < end:
      hashed += 1
      if finished.file_sha256(path) != facts["sha256"]:
        wrong.append(f"{shard} has other bytes than were written")
  if wrong:
    more = f", and {len(wrong) - 2} more" if len(wrong) > 2 else ""
    return Finding("fail", name, "; ".join(wrong[:2]) + more, fix)
  counts = ", ".join(
    f"{split} {count:,}" for split, count in manifest["films"].items()
  )
  text = f"{counts} films; {hashed} of {len(shards)} shards hashed"
  if hashed < len(shards):
    text += (
      f", the others by size: scan42 verify --data_dir={folder.parents[1]}"
    )
  return Finding("ok", name, text)
