"""Turns the raw folder of a dataset into shards, resuming what was begun.

Readings go to a journal first and into shards when all are there. The new
dataset is built beside the old one, which stays in use until it is complete.
"""

import collections
import contextlib
import dataclasses
import fcntl
import importlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator

from scan42_jax import datasets
from scan42_jax.data import finished, gathering
from scan42_jax.data.beam import BeamSettings
from scan42_jax.data.manifest import Entry, make_manifest, summarize
from scan42_jax.datasets import base, shards
from scan42_jax.datasets.reading import Options


def prepare(
  dataset_name: str,
  options: Options,
  *,
  data_dir: pathlib.Path,
  num_workers: int,
  beam: BeamSettings | None = None,
  say: Callable[[str], None] = print,
) -> dict:
  """Prepares one dataset; see prepare.py for the command.

  Args:
    dataset_name: a key of datasets.CLASSES.
    options: the user's choices.
    data_dir: the dataset goes to `data_dir/<stored name>/<version>`.
    num_workers: processes that read films; 0 reads in this one.
    beam: reads them on Apache Beam instead.
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
    entries = gathering.gather(
      dataset, known, partial, num_workers=num_workers, beam=beam, say=say
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
      split: [_film(dataset, entry) for entry in films[split]]
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


def _film(dataset, entry: Entry) -> shards.Film:
  def fetch() -> shards.Example:
    return dataset.example(entry.row, entry.load())

  return dataset.ids(entry.row, entry.found)[0], fetch
