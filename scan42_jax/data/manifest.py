"""What a prepared dataset says of itself: counts, settings, hash of its input.

The manifest is written beside the shards; its digest tells whether another run
would give anything else.
"""

import collections
import dataclasses
import hashlib
import importlib.metadata
import pathlib
from collections.abc import Callable

from scan42_jax.datasets import base, reading
from scan42_jax.datasets.reading import Reading, Row

_VERSIONS_OF = (
  "tensorflow-datasets",
  "array_record",
  "numpy",
  "pillow",
  "pydicom",
)


@dataclasses.dataclass(frozen=True)
class Entry:
  """One row with what its file gave, and how to get the pictures."""

  row: Row
  found: Reading
  load: Callable[[], Reading] | None = None


def make_manifest(dataset: base.FilmDataset, entries: list[Entry]) -> dict:
  """Counts, settings and versions; the shards follow when they are written."""
  options = dataset.options
  return {
    "name": dataset.name,
    "dataset": type(dataset).name,
    "version": str(dataset.version),
    **_counts(dataset, entries),
    "patients_of": dataset.patients_of(),
    "ids_hashed_by": reading.id_key(options) if dataset.hashes_ids else "",
    "label_names": list(dataset.label_names()),
    "equalized": options.published,
    "short_side_px": options.short_side_px,
    "split_seed": options.split_seed,
    "holdout_percent": options.holdout_percent,
    "digest": _digest(dataset, entries),
    "versions": {n: importlib.metadata.version(n) for n in _VERSIONS_OF},
  }


def _counts(dataset, entries) -> dict:
  films, skipped = collections.Counter(), collections.Counter()
  counts = collections.Counter()
  for entry in entries:
    row, found = entry.row, entry.found
    if found.refused:
      counts["quarantined"] += found.broken
      skipped[found.refused] += not found.broken
      continue
    films[dataset.split(row, found)] += 1
    counts["unknown_view"] += not (row.view or found.view)
    counts["unknown_patient"] += not dataset.ids(row, found)[1]
  names = ("quarantined", "unknown_view", "unknown_patient")
  return {
    "films": {split: films[split] for split in base.SPLITS},
    "skipped": {reason: n for reason, n in sorted(skipped.items()) if n},
    **{name: counts[name] for name in names},
  }


def _digest(dataset, entries) -> str:
  """Hash of all that the finished folder depends on."""
  digest = hashlib.sha256(repr(dataset.label_names()).encode())
  for entry in entries:
    row, found = entry.row, entry.found
    known = (found.file, found.fingerprint, found.refused)
    if not found.refused:
      example = dataset.example(row, found)
      example["labels"] = example["labels"].tolist()
      known += (dataset.split(row, found), sorted(example.items()))
    digest.update(repr(known).encode())
  return digest.hexdigest()


def summarize(manifest: dict, final: pathlib.Path) -> str:
  """Returns the line that ends a preparation."""
  skipped = sum(manifest["skipped"].values())
  return (
    f"{manifest['name']}: {manifest['films']} films, {skipped} skipped "
    f"{manifest['skipped']}, {manifest['quarantined']} quarantined, "
    f"{manifest['unknown_view']} of unknown view, "
    f"{manifest['unknown_patient']} of unknown patient; in {final}"
  )
