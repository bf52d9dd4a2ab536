"""Films with masks: which there are, and how they become batches.

A film's masks become one label map: 0 background, then the structures in their
order, the later over the earlier. Only one batch and the next one are in
memory.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.struct
import numpy as np

from scan42_jax.data.images import decode_film
from scan42_jax.data.mixture import Mixture
from scan42_jax.data.sources import FilmSource, open_films
from scan42_jax.encoder import prepare_film
from scan42_jax.eval.segmenting.film_view import labels_in_view
from scan42_jax.eval.segmenting.mask_settings import MaskDataSettings
from scan42_jax.eval.splits import check_apart
from scan42_jax.types import Array, Int, UInt8
from scan42_jax.weights.preprocessing import Preprocessing


@flax.struct.dataclass
class MaskedBatch:
  """Films and label maps as the encoder sees them.

  Attributes:
    pixels: grey levels.
    labels: class of each pixel.
    index: place in the training stream; -1 in rows that only fill a batch.
  """

  pixels: UInt8[Array | np.ndarray, "B s s"]
  labels: UInt8[Array | np.ndarray, "B s s"]
  index: Int[Array | np.ndarray, "B"]


@dataclasses.dataclass(frozen=True)
class MaskedFilm:
  """One film.

  Attributes:
    image_id: unique in a dataset.
    patient_id: '' if unknown.
    pixels: as it is stored, perhaps shrunk.
    labels: at the mask's original size.
  """

  image_id: str
  patient_id: str
  pixels: UInt8[np.ndarray, "_ _"]
  labels: UInt8[np.ndarray, "_ _"]


@dataclasses.dataclass(frozen=True)
class MaskedFilms:
  """Films of a split that have all the masks that are learnt.

  Attributes:
    source: all films of the split.
    structures: names of the masks, in the order of their classes.
    rows: places of the films in the source.
    image_ids: of the films.
    patients: '' if unknown.
    left_out: films that lack a mask.
  """

  source: FilmSource
  structures: tuple[str, ...]
  rows: Sequence[int]
  image_ids: Sequence[str]
  patients: Sequence[str]
  left_out: int

  def __len__(self) -> int:
    return len(self.rows)

  @property
  def num_patients(self) -> int:
    """Patients that are known; 0 if none is."""
    return len(set(self.patients) - {""})

  def __getitem__(self, number: int) -> MaskedFilm:
    """Decodes a film and its masks.

    Raises:
      ValueError: a mask does not cover its film.
    """
    example = self.source[self.rows[number]]
    pixels = decode_film(example["image"])
    where = f"film {example['image_id']} of {self.source.name}"
    return MaskedFilm(
      image_id=example["image_id"],
      patient_id=example["patient_id"],
      pixels=pixels,
      labels=label_map(
        {name: example["masks"][name] for name in self.structures},
        pixels.shape,
        where=where,
      ),
    )


@dataclasses.dataclass(frozen=True)
class MaskedSplits:
  """Films to learn from, to choose by, and to test on."""

  train: MaskedFilms
  validation: MaskedFilms
  test: MaskedFilms

  def __iter__(self):
    yield from (self.train, self.validation, self.test)


def open_masked(
  settings: MaskDataSettings, data_dir: pathlib.Path
) -> MaskedSplits:
  """Opens the three splits and checks them.

  Raises:
    FileNotFoundError: the dataset is absent.
    ValueError: a split has no film with all the masks, or a patient is in two.
  """
  names = settings.train_split, settings.validation_split, settings.test_split
  splits = [
    find_masked(
      open_films(data_dir, settings.dataset, name), settings.structures
    )
    for name in names
  ]
  check_apart({films.source.split: films for films in splits})
  return MaskedSplits(*splits)


def find_masked(source: FilmSource, structures: tuple[str, ...]) -> MaskedFilms:
  """Finds the films that have all the masks; opens no picture.

  Raises:
    ValueError: there is none.
  """
  rows, image_ids, patients = [], [], []
  present = dict.fromkeys(structures, 0)
  for row in range(len(source)):
    example = source[row]
    has = [bool(example["masks"][name]) for name in structures]
    for name, there in zip(structures, has, strict=True):
      present[name] += there
    if all(has):
      rows.append(row)
      image_ids.append(example["image_id"])
      patients.append(example["patient_id"])
  if not rows:
    counts = ", ".join(f"{name} on {n}" for name, n in present.items())
    raise ValueError(
      f"split {source.split!r} of {source.name} has no film with all the masks"
      f" that are learnt ({counts} of {len(source)} films): prepare it with"
      " masks, or change config.segmentation.data.structures"
    )
  return MaskedFilms(
    source=source,
    structures=structures,
    rows=rows,
    image_ids=image_ids,
    patients=patients,
    left_out=len(source) - len(rows),
  )


def label_map(
  masks: Mapping[str, bytes], film: tuple[int, int], *, where: str
) -> UInt8[np.ndarray, "H W"]:
  """Paints masks over one another, in their order.

  Args:
    masks: PNG of one size; any value but 0 is inside.
    film: height and width of the film, which may have been shrunk.
    where: of which film, for messages.

  Raises:
    ValueError: a mask does not have the film's shape.
  """
  labels = None
  for number, (name, encoded) in enumerate(masks.items(), start=1):
    mask = decode_film(encoded) > 0
    if labels is None:
      labels = np.zeros(mask.shape, np.uint8)
    if mask.shape != labels.shape or not _same_shape(mask.shape, film):
      raise ValueError(
        f"{where}: mask {name} has {mask.shape[0]} x {mask.shape[1]} px, which"
        f" does not fit the film of {film[0]} x {film[1]} px; mend the mask and"
        " prepare the dataset again"
      )
    labels[mask] = number
  return labels


def _same_shape(mask: tuple[int, int], film: tuple[int, int]) -> bool:
  """Whether a film is its mask shrunk, to whole pixels."""
  scale = min(film) / min(mask)
  return all(abs(m * scale - f) <= 1 for m, f in zip(mask, film, strict=True))


def training_batches(
  films: MaskedFilms,
  how: Preprocessing,
  *,
  batch_size: int,
  seed: int,
  start_step: int,
  num_threads: int,
) -> Iterator[MaskedBatch]:
  """Yields training batches without end; the step is the place in the data.

  Args:
    films: to learn from.
    how: films are prepared.
    batch_size: films of a step.
    seed: of the order.
    start_step: first step to yield.
    num_threads: that read and decode.
  """
  order = Mixture([len(films)], seed=seed)
  prepare = _preparer(films, how)

  def batch(step: int, pool) -> Callable[[], MaskedBatch]:
    index = range(step * batch_size, (step + 1) * batch_size)
    jobs = [pool.submit(lambda i=i: prepare(order.place(i)[1])) for i in index]
    return lambda: _stack([job.result()[:2] for job in jobs], index)

  with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
    step = start_step
    ahead = [batch(step, pool)]
    try:
      while True:
        step += 1
        ahead.append(batch(step, pool))
        yield ahead.pop(0)()
    finally:
      pool.shutdown(wait=False, cancel_futures=True)


def evaluation_batches(
  films: MaskedFilms,
  how: Preprocessing,
  *,
  batch_size: int,
  num_threads: int,
) -> Iterator[tuple[MaskedBatch, list[MaskedFilm]]]:
  """Yields every film once, in stored order, and the films themselves.

  The last batch is filled up with its last film.
  """
  prepare = _preparer(films, how)

  def submit(start: int, pool) -> list[concurrent.futures.Future[Any]]:
    stop = min(start + batch_size, len(films))
    return [pool.submit(prepare, number) for number in range(start, stop)]

  with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
    starts = range(0, len(films), batch_size)
    ahead = submit(0, pool)
    for start in starts:
      jobs, ahead = ahead, submit(start + batch_size, pool)
      found = [job.result() for job in jobs]
      index = [*range(start, start + len(found))]
      padding = batch_size - len(found)
      pairs = [pair[:2] for pair in found + found[-1:] * padding]
      yield (
        _stack(pairs, index + [-1] * padding),
        [film for *_, film in found],
      )


def _preparer(films: MaskedFilms, how: Preprocessing):
  """Returns number -> (pixels, labels) as the encoder sees them, and film."""
  if films.source.equalized:
    how = dataclasses.replace(how, equalize=False)

  def prepare(number: int):
    film = films[number]
    pixels = prepare_film(film.pixels, how)
    labels = labels_in_view(film.labels, side=pixels.shape[0], whole=how.squash)
    return pixels, labels, film

  return prepare


def _stack(pairs, index) -> MaskedBatch:
  pixels, labels = zip(*pairs, strict=True)
  return MaskedBatch(
    np.stack(pixels), np.stack(labels), np.array([*index], np.int32)
  )
