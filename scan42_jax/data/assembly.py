"""Turns the raw folder of a dataset into shards, resuming what was begun.

Readings go to a journal first and into shards when all are there. The new
dataset is built beside the old one, which stays in use until it is complete.
"""

import collections
import contextlib
import dataclasses
import fcntl
import functools
import importlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator

from scan42_jax import datasets
from scan42_jax.data import finished, records, workers
from scan42_jax.data.manifest import Entry, make_manifest, summarize
from scan42_jax.datasets import base, checks, reading
from scan42_jax.datasets.reading import Options, Reading

_SAY_SECONDS = 5.0


def prepare(
  dataset_name: str,
  options: Options,
  *,
  data_dir: pathlib.Path,
  num_workers: int,
  say: Callable[[str], None] = print,
) -> dict:
  """Prepares one dataset; see prepare.py for the command.

  Args:
    dataset_name: a key of datasets.CLASSES.
    options: the user's choices.
    data_dir: the dataset goes to `data_dir/<stored name>/<version>`.
    num_workers: processes that read films; 0 reads in this one.
    say: takes the lines for the user.

  Returns:
    The manifest.

  Raises:
    ValueError, OSError: one line about what is wrong and what to do.
  """
  dataset_class = _dataset_class(dataset_name)
  stored_name = base.stored_name(dataset_name, options)
  home = data_dir / stored_name
  options = _with_source(dataset_class, options, home)
  with _only_one(home):
    partial, final = home / "partial", home / str(dataset_class.VERSION)
    _recover(partial, final)
    dataset = dataset_class(options, data_dir=str(partial / "build"))
    damaged = finished.damaged_shards(final)
    if damaged:
      say(f"{stored_name}: damaged, made again: {', '.join(damaged)}")
    known = finished.known_films(final, damaged=damaged)
    entries = _read_all(
      dataset, known, partial, num_workers=num_workers, say=say
    )
    manifest = make_manifest(dataset, entries)
    if not damaged and _is_done(final, manifest):
      shutil.rmtree(partial)
      say(f"{stored_name}: nothing changed, {final} is complete")
      return finished.read_manifest(final)
    built = _build(dataset, entries, manifest)
    _swap(built, partial, final)
    say(summarize(manifest, final))
    return finished.read_manifest(final)


def _dataset_class(name: str) -> type[base.FilmDataset]:
  classes = datasets.CLASSES
  if name not in classes:
    raise ValueError(
      f"unknown dataset {name!r}; known are {', '.join(sorted(classes))}"
    )
  module = importlib.import_module(f"scan42_jax.datasets.{name}")
  return getattr(module, classes[name])


def _with_source(dataset_class, options, home) -> Options:
  """Fills in the source of a dataset that makes its own, and checks it."""
  source = options.source
  if dataset_class.MAKES_SOURCE:
    source = source or home / "source"
    source.mkdir(parents=True, exist_ok=True)
  if source is None or not source.is_dir():
    raise FileNotFoundError(f"source {source} is no folder; give --source=DIR")
  return dataclasses.replace(options, source=source)


@contextlib.contextmanager
def _only_one(home: pathlib.Path) -> Iterator[None]:
  """Keeps two preparations of one dataset apart; the lock dies with us."""
  home.mkdir(parents=True, exist_ok=True)
  with (home / ".lock").open("w") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise OSError(f"another process is preparing {home}") from None
    yield


def _recover(partial: pathlib.Path, final: pathlib.Path) -> None:
  """Undoes half a swap and sweeps half-built shards."""
  old = partial / "old"
  if old.exists() and not final.exists():
    old.rename(final)
  for leftover in (old, partial / "build"):
    shutil.rmtree(leftover, ignore_errors=True)


def _swap(built, partial, final):
  if final.exists():
    final.rename(partial / "old")
  built.rename(final)
  shutil.rmtree(partial)


def _read_all(dataset, known, partial, *, num_workers, say):
  """Returns an entry for every row, reading the films not known yet."""
  rows = list(dataset.rows())
  checks.check_rows(rows, len(dataset.label_names()))
  _check_same_films(known, rows, dataset.name)
  with records.Journal(partial / "journal") as journal:
    entries, todo = _plan(dataset, rows, known | _journaled(journal))
    broken = _read(dataset, todo, journal, num_workers=num_workers, say=say)
    journal.flush()
    fresh = _journaled(journal)
  for row, _ in todo:
    found, load = fresh.get(row.file, (None, None))
    entries.append(Entry(row, broken.get(row.file, found), load))
  entries.sort(key=lambda entry: entry.row.file)
  films = [entry for entry in entries if not entry.found.refused]
  if not films:
    raise _nothing_readable(dataset, entries, partial)
  checks.check_films(
    (*dataset.ids(e.row, e.found), dataset.split(e.row, e.found), e.row.where)
    for e in films
  )
  return entries


def _check_same_films(known, rows, name):
  """Keeps a folder from replacing the shards of an altogether other one."""
  if known and not any(row.file in known for row in rows):
    raise ValueError(
      f"the dataset {name} that is there was made from other files; give this "
      "one a --name of its own, or remove that one"
    )


def _journaled(journal) -> finished.Known:
  return {
    found.file: (found, functools.partial(records.load_reading, place))
    for found, place in journal.readings()
  }


def _plan(dataset, rows, known):
  """Splits the rows into entries that are settled and rows to read."""
  entries, todo = [], []
  for row in rows:
    if row.fault:
      found = Reading(file=row.file, refused=row.fault, broken=True)
      entries.append(Entry(row, found))
      continue
    refused = reading.refuse(row.view, dataset.options)
    if refused:
      entries.append(Entry(row, Reading(file=row.file, refused=refused)))
      continue
    try:
      fingerprint = dataset.fingerprint(row)
    except OSError as error:
      reason = f"{row.where}: {error.strerror}: {error.filename}"
      found = Reading(file=row.file, refused=reason, broken=True)
      entries.append(Entry(row, found))
      continue
    found, load = known.get(row.file, (None, None))
    if found and found.fingerprint == fingerprint:
      entries.append(Entry(row, found, load))
    else:
      todo.append((row, fingerprint))
  return entries, todo


def _read(dataset, todo, journal, *, num_workers, say) -> dict[str, Reading]:
  """Reads films into the journal; returns the broken ones by file.

  Those are not remembered: the next run tries them again.
  """
  broken = {}
  read = functools.partial(
    reading.read_row, options=dataset.options, load=dataset.load
  )
  progress = _Progress(dataset.name, len(todo), say)
  jobs = workers.run_jobs(read, todo, workers=num_workers)
  with contextlib.closing(jobs):
    for (row, _), found in jobs:
      if isinstance(found, workers.WorkerCrash):
        found = Reading(file=row.file, refused=str(found), broken=True)
      if found.broken:
        broken[row.file] = found
      else:
        journal.add(found)
      progress.count(len(broken))
  return broken


class _Progress:
  """Says every few seconds how far the reading is."""

  def __init__(self, name, total, say):
    self._name, self._total, self._say = name, total, say
    self._start = self._last = time.monotonic()
    self._done = 0

  def count(self, num_broken):
    self._done += 1
    now = time.monotonic()
    if now - self._last < _SAY_SECONDS and self._done < self._total:
      return
    self._last = now
    rate = self._done / max(now - self._start, 1e-3)
    left = (self._total - self._done) / rate
    self._say(
      f"{self._name}: {self._done}/{self._total} films read, {rate:.1f}/s, "
      f"{left // 60:.0f} min {left % 60:.0f} s left, {num_broken} broken"
    )


def _nothing_readable(dataset, entries, partial):
  broken = [entry.found for entry in entries if entry.found.broken]
  where = dataset.options.source
  if not entries:
    return ValueError(f"{where} holds no DICOM, PNG or JPEG file")
  finished.write_quarantine(partial, broken)
  first = entries[0]
  return ValueError(
    f"{where} holds no film that can be used, {len(entries)} were tried; "
    f"the first, {first.row.file}: {first.found.refused}; see "
    f"{partial / finished.QUARANTINE}"
  )


def _is_done(final, manifest) -> bool:
  return finished.read_manifest(final).get("digest") == manifest["digest"]


def _build(dataset, entries, manifest) -> pathlib.Path:
  """Writes shards and the files beside them; returns their folder."""
  films = collections.defaultdict(list)
  for entry in entries:
    if not entry.found.refused:
      films[dataset.split(entry.row, entry.found)].append(entry)
  dataset.write(
    {
      split: functools.partial(_examples, dataset, films[split])
      for split in base.SPLITS
      if films[split]
    }
  )
  folder = pathlib.Path(dataset.data_path)
  known = [entry for entry in entries if not entry.found.broken]
  finished.write_films(
    folder, ((dataset.ids(e.row, e.found)[0], e.found) for e in known)
  )
  broken = [entry.found for entry in entries if entry.found.broken]
  finished.write_quarantine(folder, broken)
  manifest = {**manifest, "shards": finished.shard_facts(folder)}
  (folder / finished.MANIFEST).write_text(json.dumps(manifest, indent=2))
  return folder


def _examples(dataset, entries) -> Iterator[base.Example]:
  for entry in entries:
    yield dataset.example(entry.row, entry.load())
