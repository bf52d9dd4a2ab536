"""What every row of a release gives: known already, refused, or read now.

Fills the journal of readings; knows neither shards nor how films are decoded.
"""

import contextlib
import functools
import pathlib
import time
from collections.abc import Callable

from scan42_jax.data import beam as beam_reading
from scan42_jax.data import finished, records, workers
from scan42_jax.data.manifest import Entry
from scan42_jax.datasets import base, checks, reading
from scan42_jax.datasets.reading import Reading

_SAY_SECONDS = 5.0


def gather(
  dataset: base.FilmDataset,
  known: finished.Known,
  partial: pathlib.Path,
  *,
  num_workers: int,
  beam: beam_reading.BeamSettings | None,
  say: Callable[[str], None],
) -> list[Entry]:
  """Returns an entry for every row, reading the films not known yet.

  Args:
    dataset: whose rows.
    known: what an earlier preparation has left.
    partial: folder of the unfinished preparation; gets the journal.
    num_workers: processes that read films; 0 reads in this one.
    beam: reads on Apache Beam instead.
    say: takes the lines for the user.

  Returns:
    Entries by file name.

  Raises:
    ValueError: one line: rows contradict each other, nothing can be used, or
      more is broken than the options allow. What was read is kept.
  """
  rows = list(dataset.rows())
  checks.check_rows(rows, len(dataset.label_names()))
  _check_same_films(known, rows, dataset.name)
  with records.Journal(partial / "journal") as journal:
    entries, todo = _plan(dataset, rows, known | _journaled(journal))
    limit = _BrokenLimit(dataset, entries, len(rows), partial)
    read = functools.partial(
      reading.read_row, options=dataset.options, load=dataset.load
    )
    if beam:
      say(f"{dataset.name}: {len(todo)} films to read with {beam.runner}")
      broken = beam_reading.read_films(read, todo, partial, settings=beam)
    else:
      progress = _Progress(dataset.name, len(todo), say)
      jobs = workers.run_jobs(read, todo, workers=num_workers)
      broken = _read(jobs, journal, progress, limit)
    journal.flush()
    fresh = _journaled(journal)
  for row, _ in todo:
    found, load = fresh.get(row.file, (None, None))
    entries.append(Entry(row, broken.get(row.file, found), load))
  entries.sort(key=lambda entry: entry.row.file)
  limit.check(entries)
  _check_films(dataset, entries, partial)
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


def _read(jobs, journal, progress, limit) -> dict[str, Reading]:
  """Reads films into the journal; returns the broken ones by file.

  Those are not remembered: the next run tries them again.
  """
  broken = {}
  with contextlib.closing(jobs):
    for (row, _), found in jobs:
      if isinstance(found, workers.WorkerCrash):
        found = Reading(file=row.file, refused=str(found), broken=True)
      if found.broken:
        broken[row.file] = found
        limit.add(found)
      else:
        journal.add(found)
      progress.count(len(broken))
  return broken


class _BrokenLimit:
  """Stops as soon as more is broken than the options allow."""

  def __init__(self, dataset, entries, num_rows, partial):
    self._max_percent = dataset.options.max_broken_percent
    self._num_rows, self._partial = num_rows, partial
    self._broken = [entry.found for entry in entries if entry.found.broken]
    self._check()

  def add(self, found):
    self._broken.append(found)
    self._check()

  def check(self, entries):
    self._broken = [entry.found for entry in entries if entry.found.broken]
    self._check()

  def _check(self):
    try:
      checks.check_broken(
        [f"{found.file}: {found.refused}" for found in self._broken],
        self._num_rows,
        max_percent=self._max_percent,
      )
    except ValueError as error:
      finished.write_quarantine(self._partial, self._broken)
      raise ValueError(
        f"{error}; see {self._partial / finished.QUARANTINE}"
      ) from None


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


def _check_films(dataset, entries, partial):
  films = [entry for entry in entries if not entry.found.refused]
  if not films:
    raise _nothing_readable(dataset, entries, partial)
  checks.check_films(
    (*dataset.ids(e.row, e.found), dataset.split(e.row, e.found), e.row.where)
    for e in films
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
