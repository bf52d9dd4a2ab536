"""Finds what one split shares with another: patients, films, copies of films.

Films are compared by the hash of their pixels and by the signatures of
signatures.py. A film takes one or two kB of memory while it is compared.
"""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Iterator

import numpy as np

from scan42_jax.data import finished, images, signatures, workers
from scan42_jax.data.sources import FilmSource, dataset_folder, open_films

_FILMS_A_JOB = 256
_BLOCK = 4096

PATIENT = "same patient"
PIXELS = "same pixels"
COPY = "near-duplicate"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilmSet:
  """What is compared of the films of one split.

  Attributes:
    source: the split.
    patients_of: patient ids of sets with one value may be compared.
    image_ids: of each film.
    patient_ids: of each film, '' if unknown.
    hashes: SHA-256 of each film's pixels.
    signatures: float16 [R, 256], one or two for each film.
    owners: the film of each signature.
  """

  source: FilmSource
  patients_of: tuple[str, str]
  image_ids: list[str]
  patient_ids: list[str]
  hashes: list[bytes]
  signatures: np.ndarray
  owners: np.ndarray

  @property
  def name(self) -> str:
    """'nih_cxr8 train'."""
    return f"{self.source.name} {self.source.split}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overlap:
  """A film that has a twin in another split.

  Attributes:
    kind: PATIENT, PIXELS or COPY.
    film: its position in its split.
    twin: position of the other film; for PATIENT the first of that patient.
    similarity: of the two, 1 but for COPY.
  """

  kind: str
  film: int
  twin: int
  similarity: float = 1.0


def scan(
  data_dir: pathlib.Path, name: str, split: str, *, num_workers: int
) -> FilmSet:
  """Decodes every film of a split and keeps what is compared.

  Raises:
    ValueError, OSError: the split is absent or damaged, in one line.
  """
  source = open_films(data_dir, name, split)
  manifest = finished.read_manifest(dataset_folder(data_dir, name))
  jobs = [
    (source, start, min(start + _FILMS_A_JOB, len(source)))
    for start in range(0, len(source), _FILMS_A_JOB)
  ]
  parts = {}
  for (_, start, _), part in workers.run_jobs(
    _scan_part, jobs, workers=num_workers
  ):
    if isinstance(part, workers.WorkerCrash):
      raise ValueError(f"{name} {split}: {part}; run scan42_jax.data.verify")
    parts[start] = part
  films = [film for start in sorted(parts) for film in parts[start]]
  variants = [film[3] for film in films]
  return FilmSet(
    source=source,
    patients_of=(
      manifest.get("patients_of", manifest["dataset"]),
      manifest.get("ids_hashed_by", ""),
    ),
    image_ids=[film[0] for film in films],
    patient_ids=[film[1] for film in films],
    hashes=[film[2] for film in films],
    signatures=np.concatenate(variants),
    owners=np.repeat(np.arange(len(films)), [len(v) for v in variants]),
  )


def find_overlaps(films: FilmSet, others: FilmSet) -> list[Overlap]:
  """Returns every overlap of a set's films with those of another set."""
  pixels = list(_same_hash(films, others))
  known = {(overlap.film, overlap.twin) for overlap in pixels}
  copies = [
    overlap
    for overlap in _copies(films, others)
    if (overlap.film, overlap.twin) not in known
  ]
  return [*_same_patient(films, others), *pixels, *copies]


def _scan_part(source: FilmSource, start: int, stop: int) -> list[tuple]:
  found = []
  for position in range(start, stop):
    film = source[position]
    pixels = images.decode_film(film["image"])
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes())
    signature = signatures.coarse_signature(pixels).astype(np.float16)
    found.append(
      (film["image_id"], film["patient_id"], digest.digest(), signature)
    )
  return found


def _same_patient(films: FilmSet, others: FilmSet) -> Iterator[Overlap]:
  if films.patients_of != others.patients_of:
    return
  first: dict[str, int] = {}
  for twin, patient in enumerate(others.patient_ids):
    if patient:
      first.setdefault(patient, twin)
  for film, patient in enumerate(films.patient_ids):
    if patient in first:
      yield Overlap(kind=PATIENT, film=film, twin=first[patient])


def _same_hash(films: FilmSet, others: FilmSet) -> Iterator[Overlap]:
  twins: dict[bytes, list[int]] = {}
  for twin, digest in enumerate(others.hashes):
    twins.setdefault(digest, []).append(twin)
  for film, digest in enumerate(films.hashes):
    for twin in twins.get(digest, ()):
      yield Overlap(kind=PIXELS, film=film, twin=twin)


def _copies(films: FilmSet, others: FilmSet) -> Iterator[Overlap]:
  fine = functools.lru_cache(maxsize=2 * _BLOCK)(_fine_signature)
  for film, twin in sorted(_candidates(films, others)):
    similarity = signatures.similarity(
      fine(films.source, film), fine(others.source, twin)
    )
    if similarity >= signatures.FINE_THRESHOLD:
      yield Overlap(kind=COPY, film=film, twin=twin, similarity=similarity)


def _candidates(films: FilmSet, others: FilmSet) -> set[tuple[int, int]]:
  """Pairs of films whose coarse signatures are alike."""
  found = set()
  # In blocks: all similarities of two large sets do not fit into memory.
  for top in range(0, len(films.signatures), _BLOCK):
    rows = films.signatures[top : top + _BLOCK].astype(np.float32)
    for left in range(0, len(others.signatures), _BLOCK):
      columns = others.signatures[left : left + _BLOCK].astype(np.float32)
      alike = np.abs(rows @ columns.T) >= signatures.COARSE_THRESHOLD
      for row, column in np.argwhere(alike):
        film = int(films.owners[top + row])
        found.add((film, int(others.owners[left + column])))
  return found


def _fine_signature(source: FilmSource, position: int) -> np.ndarray:
  pixels = images.decode_film(source[position]["image"])
  return signatures.fine_signature(pixels)
