"""A finished dataset on disk: shards, and the files that lie beside them.

manifest.json counts and hashes, films.csv says what became of each file, and
quarantine.csv lists the broken ones. Knows how to check them and how to take
films out again, so that a second run need not decode them.
"""

import csv
import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_data_source

from scan42_jax.datasets.reading import Reading

MANIFEST = "manifest.json"
FILMS = "films.csv"
QUARANTINE = "quarantine.csv"

_FILM_COLUMNS = (
  "file",
  "image_id",
  "fingerprint",
  "refused",
  "view",
  "patient_id",
  "sex",
  "age_years",
)

Known = dict[str, tuple[Reading, Callable[[], Reading]]]
"""By file: the reading without its pictures, and how to get it with them."""


def write_films(
  folder: pathlib.Path, films: Iterable[tuple[str, Reading]]
) -> None:
  """Writes films.csv from image ids and readings; broken files are left out."""
  with (folder / FILMS).open("w", newline="") as stream:
    writer = csv.DictWriter(stream, _FILM_COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for image_id, reading in films:
      writer.writerow({**vars(reading), "image_id": image_id})


def write_quarantine(folder: pathlib.Path, broken: Iterable[Reading]) -> None:
  """Writes quarantine.csv: file, reason."""
  with (folder / QUARANTINE).open("w", newline="") as stream:
    writer = csv.writer(stream)
    writer.writerow(("file", "reason"))
    writer.writerows((reading.file, reading.refused) for reading in broken)


def shard_facts(folder: pathlib.Path) -> dict[str, dict[str, object]]:
  """Returns size and SHA-256 of every shard in a folder, by file name."""
  return {
    path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    for path in sorted(folder.glob("*.array_record-*"))
  }


def read_manifest(folder: pathlib.Path) -> dict:
  """Returns the manifest, {} where a dataset is absent or has none to trust."""
  try:
    return json.loads((folder / MANIFEST).read_text())
  except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
    return {}


def damaged_shards(folder: pathlib.Path) -> list[str]:
  """Returns names of shards that are absent or differ from the manifest."""
  found = shard_facts(folder)
  listed = read_manifest(folder).get("shards", {})
  return [name for name, facts in listed.items() if found.get(name) != facts]


def known_films(folder: pathlib.Path, *, damaged: list[str]) -> Known:
  """Returns what a finished dataset can give to its successor.

  Args:
    folder: the dataset, may be absent.
    damaged: shards whose films have to be read from their sources again.

  Returns:
    Films of sound shards, and files known to be refused.
  """
  if not read_manifest(folder) or not (folder / FILMS).is_file():
    return {}
  shards = _Shards(folder, damaged)
  known: Known = {}
  with (folder / FILMS).open(newline="") as stream:
    for cells in csv.DictReader(stream):
      image_id = cells.pop("image_id")
      cells["age_years"] = float(cells["age_years"])
      found = Reading(**cells)
      # Only damage makes it worth while to scan the shards for what they hold.
      if found.refused or not damaged or image_id in shards.places:
        load = functools.partial(shards.load, found, image_id)
        known[found.file] = (found, load)
  return known


class ShardRecords(Sequence):
  """Examples of some shards of a dataset, their pictures still encoded.

  Args:
    folder: the dataset.
    names: file names of the shards.
  """

  def __init__(self, folder: pathlib.Path, names: Sequence[str]):
    paths = [str(folder / name) for name in names]
    self._source = (
      array_record_data_source.ArrayRecordDataSource(paths) if paths else ()
    )
    self._features = tfds.builder_from_directory(str(folder)).info.features

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, position: int) -> dict[str, Any]:
    if not 0 <= position < len(self):
      raise IndexError(position)
    skip = tfds.decode.SkipDecoding()
    masks = {name: skip for name in self._features["masks"]}
    return self._features.deserialize_example_np(
      self._source[position], decoders={"image": skip, "masks": masks}
    )


class _Shards:
  """Films of the sound shards by image id, found when first asked for."""

  def __init__(self, folder: pathlib.Path, damaged: list[str]):
    names = [n for n in read_manifest(folder)["shards"] if n not in damaged]
    self._open = functools.partial(ShardRecords, folder, names)

  def load(self, found: Reading, image_id: str) -> Reading:
    """Returns a reading with its pictures."""
    example = self._records[self.places[image_id]]
    masks = {name: png for name, png in example["masks"].items() if png}
    return dataclasses.replace(found, image=example["image"], masks=masks)

  @functools.cached_property
  def places(self) -> dict[str, int]:
    """Position of each image id in the sound shards."""
    return {
      example["image_id"].decode(): position
      for position, example in enumerate(self._records)
    }

  @functools.cached_property
  def _records(self) -> ShardRecords:
    return self._open()


def file_sha256(path: pathlib.Path) -> str:
  """Returns the SHA-256 of a file."""
  with path.open("rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()
