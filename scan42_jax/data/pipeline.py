"""From prepared shards to batches of grey films in host memory, by grain.

The host reads and decodes; crops and augmentation happen on the device. The
position in the training stream is the step number, and the order of films
depends on nothing but the seed: not on threads, workers or processes.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np

from scan42_jax.data import images
from scan42_jax.data.broken import BrokenFilms
from scan42_jax.data.mixture import Mixture
from scan42_jax.data.sources import FilmSource, open_films
from scan42_jax.types import Films

__all__ = [
  "Mixture",
  "evaluation_films",
  "open_films",
  "training_films",
]


def training_films(
  sources: Sequence[FilmSource],
  *,
  canvas_px: int,
  batch_size: int,
  seed: int,
  equalize: bool,
  weights: Sequence[int] = (),
  start_step: int = 0,
  rows: Sequence[int] | None = None,
  broken: BrokenFilms | None = None,
  num_threads: int = 2,
  num_workers: int = 0,
) -> Iterator[Films]:
  """Yields this process's share of every training batch, without end.

  Films of all sources are mixed as `Mixture` says.

  Args:
    sources: what to train on.
    canvas_px: side of the canvas. Shrinking a larger film doubles its cost.
    batch_size: global batch size B.
    seed: seed of the order.
    equalize: equalise the histogram of the whole film before anything else.
    weights: places of each source in a block of the stream; empty mixes the
      sources in proportion to their size.
    start_step: first step to yield, where a run has stopped.
    rows: of each global batch of B films that are wanted; all by default.
    broken: is told of films that cannot be read, for which the next one of the
      same dataset stands in; without it they are errors.
    num_threads: batches made at the same time by threads; 0 makes them in
      `next`.
    num_workers: processes that make them instead; needs parsed absl flags.

  Returns:
    An iterator of Films of numpy arrays [len(rows), ...] with a method `close`.
    Row r of step s has index s*B + r, whoever asks for it.

  Raises:
    ValueError: no sources, weights that do not fit them, or a stored
      equalisation that is not wanted.
  """
  mixture = Mixture(
    [len(source) for source in sources], seed=seed, weights=weights
  )
  for source in sources:
    _check_equalized(source, equalize)
  make_batch = _TrainingBatches(
    sources,
    mixture,
    canvas_px=canvas_px,
    batch_size=batch_size,
    equalize=equalize,
    rows=range(batch_size) if rows is None else rows,
    broken=broken,
  )
  return _iterate(
    make_batch, start_step, num_threads=num_threads, num_workers=num_workers
  )


def evaluation_films(
  source: FilmSource, *, canvas_px: int, equalize: bool, batch_size: int
) -> Iterator[tuple[Films, list[dict[str, Any]]]]:
  """Yields every film once, in stored order, with what is known of it.

  Args:
    source: what to evaluate on.
    canvas_px: side of the square canvas, in pixels; larger films are shrunk.
    equalize: equalise the histogram of the whole film.
    batch_size: films in each batch.

  Yields:
    Films of numpy arrays, always `batch_size` of them, and their examples as
    FilmSource describes. In the last batch the examples may be fewer: the rows
    after them repeat the last film and have index -1.

  Raises:
    ValueError: the source is equalised and `equalize` is False.
  """
  _check_equalized(source, equalize)
  equalize = equalize and not source.equalized
  for first in range(0, len(source), batch_size):
    index = range(first, min(first + batch_size, len(source)))
    examples = [source[i] for i in index]
    padding = batch_size - len(examples)
    films = [_decode(example, equalize) for example in examples]
    yield (
      _draw(
        films + films[-1:] * padding,
        [*index, *[-1] * padding],
        canvas_px=canvas_px,
      ),
      examples,
    )


class _TrainingBatches:
  """Makes the films of a step; called by several threads at once."""

  def __init__(
    self, sources, mixture, *, canvas_px, batch_size, equalize, rows, broken
  ):
    self._sources = tuple(sources)
    self._mixture = mixture
    self._canvas_px = canvas_px
    self._batch_size = batch_size
    self._equalize = equalize
    self._rows = tuple(int(row) for row in rows)
    self._broken = broken

  def __call__(self, step: int) -> Films:
    index = [step * self._batch_size + row for row in self._rows]
    films = (self._read(*self._mixture.place(i)) for i in index)
    return _draw(films, index, canvas_px=self._canvas_px)

  def _read(self, which: int, position: int) -> np.ndarray:
    source = self._sources[which]
    equalize = self._equalize and not source.equalized
    for tried in range(len(source)):
      # Whoever asks, now or after a resume, gets the same film instead.
      here = (position + tried) % len(source)
      try:
        return _decode(source[here], equalize)
      except ValueError as error:
        if self._broken is None:
          raise
        self._broken.add(source.name, here, str(error))
    raise ValueError(f"no film of {source.name} can be read")


def _iterate(make_batch, start_step, *, num_threads, num_workers):
  # Whole batches are the elements, so that each is decoded straight into its
  # canvas and neither threads nor workers can change what is in it.
  batches = grain.MapDataset.range(start_step, sys.maxsize).map(make_batch)
  films = batches.to_iter_dataset(
    grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
  )
  if num_workers:
    options = grain.MultiprocessingOptions(
      num_workers=num_workers, per_worker_buffer_size=1
    )
    films = films.mp_prefetch(options, worker_init_fn=_die_with_parent)
  return iter(films)


def _decode(example, equalize: bool) -> np.ndarray:
  film = images.decode_film(example["image"])
  return images.equalize_histogram(film) if equalize else film


def _draw(films, index, *, canvas_px) -> Films:
  """Puts films, drawn from an iterator one by one, onto canvases."""
  pixels = np.zeros((len(index), canvas_px, canvas_px), np.uint8)
  sizes = np.empty((2, len(index)), np.int32)
  for row, (canvas, film) in enumerate(zip(pixels, films, strict=True)):
    film = _fit(film, canvas_px)
    canvas[: film.shape[0], : film.shape[1]] = film
    sizes[:, row] = film.shape
  height, width = sizes
  return Films(pixels, height, width, np.array(index, np.int32))


def _fit(film: np.ndarray, canvas_px: int) -> np.ndarray:
  if max(film.shape) <= canvas_px:
    return film
  # The short side is rounded down, which keeps the long one on the canvas.
  short_side_px = min(film.shape) * canvas_px // max(film.shape)
  return images.shrink(film, short_side_px=max(short_side_px, 1))


def _check_equalized(source: FilmSource, equalize: bool) -> None:
  if source.equalized and not equalize:
    raise ValueError(
      f"dataset {source.name} is stored equalised, but films without "
      "equalisation are asked for; prepare it without --published, or set "
      "equalize"
    )


def _die_with_parent(index: int, count: int) -> None:
  """Ends a worker with its parent, which a killed parent cannot do."""
  del index, count

  def wait() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)

  threading.Thread(target=wait, daemon=True).start()
