"""Looks for faults in a prepared dataset: files, counts, records, ids.

Only what prepare.py has written is judged, not the films of the release.
"""

import collections
import csv
import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Iterator

from scan42_jax.data import finished, images, workers
from scan42_jax.datasets import labels

_CODES = (
  labels.POSITIVE,
  labels.NEGATIVE,
  labels.UNCERTAIN,
  labels.NOT_MENTIONED,
  labels.MISSING,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardReport:
  """What was found in one shard.

  Attributes:
    split: that it belongs to.
    ids: image id and patient id of each record that could be read.
    faults: a line for each fault.
  """

  split: str
  ids: list[tuple[str, str]]
  faults: list[str]


def verify(folder: pathlib.Path, *, num_workers: int) -> Iterator[str]:
  """Yields a line for each fault of a dataset; none if it is sound.

  Args:
    folder: of one version of the dataset.
    num_workers: processes that decode; 0 decodes in this one.
  """
  manifest = finished.read_manifest(folder)
  if not manifest.get("shards"):
    yield f"{folder / finished.MANIFEST} is absent, damaged or empty"
    return
  sound = []
  for name, fault in _compare_files(folder, manifest["shards"]):
    if fault:
      yield f"{folder / name} {fault}"
    else:
      sound.append(name)
  check = functools.partial(check_shard, folder)
  jobs = [(name, manifest["short_side_px"]) for name in sound]
  reports = []
  for job, report in workers.run_jobs(check, jobs, workers=num_workers):
    if isinstance(report, workers.WorkerCrash):
      yield f"{folder / job[0]}: {report}"
      continue
    yield from report.faults
    reports.append(report)
  yield from _compare_ids(reports)
  if len(reports) == len(manifest["shards"]):  # Else counts tell nothing new.
    yield from _compare_counts(folder, manifest, reports)


def check_shard(
  folder: pathlib.Path, name: str, short_side_px: int
) -> ShardReport:
  """Reads and decodes every record of a shard.

  Args:
    folder: of the dataset.
    name: of the shard.
    short_side_px: longest that the short side of a film may be.
  """
  report = ShardReport(split=_split(name), ids=[], faults=[])
  try:
    records = finished.ShardRecords(folder, [name])
  # TFDS and ArrayRecord tell damage by many unrelated exceptions.
  except Exception as error:
    report.faults.append(f"{folder / name} cannot be opened ({_kind(error)})")
    return report
  for position in range(len(records)):
    try:
      example = records[position]
      ids = (example["image_id"].decode(), example["patient_id"].decode())
      faults = list(_check_example(example, short_side_px))
    except Exception as error:
      faults = [f"cannot be read ({_kind(error)})"]
    else:
      report.ids.append(ids)
    report.faults.extend(
      f"{folder / name} record {position} {fault}" for fault in faults
    )
  return report


def _check_example(example, short_side_px: int) -> Iterator[str]:
  pictures = {"image": example["image"], **example["masks"]}
  for name, encoded in pictures.items():
    if name != "image" and not encoded:
      continue
    try:
      shape = images.decode_film(encoded).shape
    except images.RejectedFilm as error:
      yield f"has a faulty {name}: {error}"
      continue
    if name == "image" and min(shape) > short_side_px:
      yield f"is {shape[1]} x {shape[0]} pixels, too large"
  unknown = set(example["labels"].tolist()) - set(_CODES)
  if unknown:
    yield f"has labels {sorted(unknown)}"


def _compare_files(folder, listed) -> Iterator[tuple[str, str]]:
  """Yields each shard with its fault, or ''."""
  found = finished.shard_facts(folder)
  for name, facts in listed.items():
    if name not in found:
      yield name, "is missing"
    elif found[name]["bytes"] != facts["bytes"]:
      yield name, f"has {found[name]['bytes']} bytes, not {facts['bytes']}"
    else:
      same = found[name]["sha256"] == facts["sha256"]
      yield name, "" if same else "has another SHA-256 than the manifest says"
  for name in found.keys() - listed.keys():
    yield name, "is not in the manifest"


def _compare_ids(reports: Iterable[ShardReport]) -> Iterator[str]:
  images_seen: set[str] = set()
  splits: dict[str, str] = {}
  for report in reports:
    for image_id, patient_id in report.ids:
      if image_id in images_seen:
        yield f"image id {image_id} is there twice"
      images_seen.add(image_id)
      before = splits.setdefault(patient_id, report.split)
      if patient_id and before != report.split:
        yield f"patient {patient_id} is in {before} and in {report.split}"


def _compare_counts(folder, manifest, reports) -> Iterator[str]:
  counts = collections.Counter()
  for report in reports:
    counts[report.split] += len(report.ids)
  for split, expected in manifest["films"].items():
    if counts[split] != expected:
      yield (
        f"{folder}: {counts[split]} films of {split}, the manifest says "
        f"{expected}"
      )
  stored = {image_id for report in reports for image_id, _ in report.ids}
  try:
    with (folder / finished.FILMS).open(newline="") as stream:
      listed = {
        cells["image_id"]
        for cells in csv.DictReader(stream)
        if not cells["refused"]
      }
  except (OSError, KeyError, csv.Error) as error:
    yield f"{folder / finished.FILMS} cannot be read ({_kind(error)})"
    return
  for image_id in sorted(stored ^ listed):
    places = ("the shards", finished.FILMS)
    if image_id in listed:
      places = places[::-1]
    yield f"{folder}: image id {image_id} is in {places[0]}, not in {places[1]}"


def _split(shard: str) -> str:
  """'chexpert-train.array_record-00000-of-00012' -> 'train'."""
  return shard.partition(".")[0].rpartition("-")[2]


def _kind(error: Exception) -> str:
  return type(error).__name__
