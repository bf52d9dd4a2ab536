"""Runs an encoder over many films, resuming what was begun.

Reading threads stay a few batches ahead of the device. Batches are cut by
position in the list of films, so neither a kill nor the pace of reading changes
what is in one, nor any number that comes out.
"""

from __future__ import annotations

import collections
import concurrent.futures
import csv
import dataclasses
import io
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scan42_jax import __version__
from scan42_jax.data.images import RejectedFilm
from scan42_jax.encoder import Encoder
from scan42_jax.extraction.films import Films, KnownFilm
from scan42_jax.extraction.outputs import Output, film_texts
from scan42_jax.extraction.parts import Parts, difference, write_beside
from scan42_jax.models.vit import WAYS_TO_COMPUTE
from scan42_jax.weights.digest import weights_sha256

_SAY_SECONDS = 5.0
_BATCHES_AHEAD = 2
_REFUSED = ("file", "reason")
# Change no feature.
_TRAINING_ONLY = ("layer_scale", "drop_path", *WAYS_TO_COMPUTE)


@dataclasses.dataclass(frozen=True)
class Extraction:
  """What is to be done.

  Attributes:
    encoder: what the films are shown to.
    films: in their order.
    output: the format.
    path: the file; beside it lie `PATH.partial` while it is made, and
      `PATH.quarantine.csv`.
    batch_size: films that are encoded together.
  """

  encoder: Encoder
  films: Films
  output: Output
  path: pathlib.Path
  batch_size: int

  def __post_init__(self):
    if self.films.equalized and not self.encoder.preprocessing.equalize:
      raise ValueError(
        "the films are stored equalised, but the encoder wants them without"
        " equalisation; prepare them without --published"
      )


def extract(work: Extraction, *, say: Callable[[str], None] = print) -> None:
  """Writes the features of all films into one file.

  Args:
    work: what is to be done.
    say: takes the lines for the user.

  Raises:
    ValueError: the file, or what was begun of it, is of another encoder or of
      other films; or no film can be used.
    OSError: something cannot be read or written.
  """
  identity = _identity(work)
  partial = work.path.with_name(work.path.name + ".partial")
  if work.path.exists():
    _keep_finished(work, identity, say)
    shutil.rmtree(partial, ignore_errors=True)  # A kill may have left it.
    return
  with Parts(partial, identity) as parts:
    _encode_all(work, parts, say)
    parts.flush()
    counts = _write_quarantine(work, parts)
    if not counts["films"]:
      raise ValueError(
        f"none of {len(work.films)} films can be used; see"
        f" {_quarantine(work.path)}"
      )
    whole = partial / "whole.tmp"
    work.output.write(whole, parts, {**identity, **_names(work.encoder)})
    _sync(whole)
    whole.replace(work.path)
    shutil.rmtree(partial)
  say(
    f"{counts['films']} films in {work.path}, {counts['refused']} refused"
    f" ({_quarantine(work.path)})"
  )


def _identity(work: Extraction) -> dict[str, Any]:
  """All that the numbers depend on; a resumed run must agree with it."""
  encoder = work.encoder
  shape = dataclasses.asdict(encoder.config)
  for name in _TRAINING_ONLY:
    del shape[name]
  identity = {
    "encoder": {
      "weights_sha256": weights_sha256(encoder.params),
      "dtype": str(np.dtype(encoder.dtype)),
      **shape,
    },
    "preprocessing": dataclasses.asdict(encoder.preprocessing),
    "films": work.films.digest,
    "format": type(work.output).__name__,
    "batch_size": work.batch_size,
  }
  return json.loads(json.dumps(identity))  # As it will be read back.


def _names(encoder: Encoder) -> dict[str, str]:
  """What a reader wants to know, but no number depends on."""
  return {"encoder_source": encoder.source, "scan42_jax": __version__}


def _keep_finished(work, identity, say) -> None:
  """Leaves a file alone that is what is asked for, and refuses to lose one."""
  other = difference(work.output.read_identity(work.path), identity)
  if other:
    raise ValueError(
      f"{work.path} is there already, made with another {other}; remove it or"
      " give another --output"
    )
  say(f"nothing to do: {work.path} is complete")


def _encode_all(work: Extraction, parts: Parts, say) -> None:
  encoder = work.encoder
  if work.films.equalized:
    encoder = encoder.with_preprocessing(equalize=False)
  progress = _Progress(len(work.films), parts.done, say)
  for done, batch in _read_ahead(work.films, parts.done, work.batch_size):
    known = [film for film in batch if isinstance(film, KnownFilm)]
    refused = [film for film in batch if not isinstance(film, KnownFilm)]
    columns = {
      f"refused_{name}": np.array(texts, np.str_)
      for name, texts in zip(_REFUSED, zip(*refused, strict=True))  # noqa: B905
    }
    if known:
      features = encoder(
        [film.pixels for film in known], batch_size=work.batch_size
      )
      columns |= film_texts(known)
      columns |= work.output.columns(**vars(features))
    parts.add(columns, done=done)
    progress.count(done, len(refused))


def _read_ahead(
  films: Films, first: int, batch_size: int
) -> Iterator[tuple[int, list[KnownFilm | tuple[str, str]]]]:
  """Yields how many films are dealt with after a batch, and the batch.

  A film that is refused is a pair (name, reason).
  """
  starts = collections.deque(range(first, len(films), batch_size))
  pending: collections.deque = collections.deque()
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    try:
      while starts or pending:
        while starts and len(pending) < _BATCHES_AHEAD:
          start = starts.popleft()
          done = min(start + batch_size, len(films))
          jobs = [pool.submit(_read, films, i) for i in range(start, done)]
          pending.append((done, jobs))
        done, jobs = pending.popleft()
        yield done, [job.result() for job in jobs]
    finally:
      pool.shutdown(cancel_futures=True)


def _read(films: Films, index: int) -> KnownFilm | tuple[str, str]:
  try:
    return films.read(index)
  except RejectedFilm as error:
    return films.name(index), str(error)


def _write_quarantine(work: Extraction, parts: Parts) -> dict[str, int]:
  """Lists the refused films beside the file; counts them and the others."""
  text = io.StringIO()
  writer = csv.writer(text)
  writer.writerow(_REFUSED)
  counts = collections.Counter(films=0, refused=0)
  for columns in parts:
    refused = [columns.get(f"refused_{name}", ()) for name in _REFUSED]
    writer.writerows(zip(*refused, strict=True))
    counts["refused"] += len(refused[0])
    counts["films"] += len(columns.get("image_id", ()))
  write_beside(
    _quarantine(work.path),
    lambda stream: stream.write(text.getvalue().encode()),
  )
  return dict(counts)


def _quarantine(path: pathlib.Path) -> pathlib.Path:
  return path.with_name(path.name + ".quarantine.csv")


def _sync(path: pathlib.Path) -> None:
  with path.open("rb") as stream:
    os.fsync(stream.fileno())


class _Progress:
  """Says every few seconds how far it is; what was resumed gives no rate."""

  def __init__(self, total: int, resumed: int, say: Callable[[str], None]):
    self._total, self._resumed, self._say = total, resumed, say
    self._start = self._last = time.monotonic()
    self._refused = 0
    if resumed:
      say(f"{resumed}/{total} films are done already")

  def count(self, done: int, refused: int) -> None:
    self._refused += refused
    now = time.monotonic()
    if now - self._last < _SAY_SECONDS and done < self._total:
      return
    self._last = now
    rate = (done - self._resumed) / max(now - self._start, 1e-3)
    left = (self._total - done) / rate
    self._say(
      f"{done}/{self._total} films, {rate:.1f}/s, {left // 60:.0f} min"
      f" {left % 60:.0f} s left, {self._refused} refused"
    )
