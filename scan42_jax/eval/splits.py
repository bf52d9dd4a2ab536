"""Films of the three splits, what is known of them, and what must not be.

Knows labels and people, no pixels. A split that is empty, a label that is not
there and a patient who is in two splits end the run here, before it begins.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from scan42_jax.data.sources import FilmSource, open_films
from scan42_jax.datasets.labels import label_targets
from scan42_jax.eval.settings import LabelledDataSettings
from scan42_jax.types import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class KnownFilms:
  """What is known of films, in their order.

  Attributes:
    image_ids: unique in a dataset.
    patients: '' if unknown.
    views: 'PA', 'AP', ...; '' if unknown.
    sexes: 'M', 'F'; '' if unknown.
    ages: years, NaN if unknown.
    labels: 0 or 1, 0 where unknown.
    valid: labels that are known.
    label_names: names of the labels.
  """

  image_ids: Sequence[str]
  patients: Sequence[str]
  views: Sequence[str]
  sexes: Sequence[str]
  ages: Float[np.ndarray, "N"]
  labels: Float[np.ndarray, "N C"]
  valid: Bool[np.ndarray, "N C"]
  label_names: Sequence[str]

  def __len__(self) -> int:
    return len(self.image_ids)

  @property
  def num_patients(self) -> int:
    """Patients that are known; 0 if none is."""
    return len(set(self.patients) - {""})

  def take(self, rows: Int[np.ndarray, "M"]) -> KnownFilms:
    """Returns some of the films."""

    def some(texts: Sequence[str]) -> list[str]:
      return [texts[row] for row in rows]

    return dataclasses.replace(
      self,
      image_ids=some(self.image_ids),
      patients=some(self.patients),
      views=some(self.views),
      sexes=some(self.sexes),
      ages=self.ages[rows],
      labels=self.labels[rows],
      valid=self.valid[rows],
    )


@dataclasses.dataclass(frozen=True)
class LabelledSplit:
  """A split: its films and what is known of them."""

  source: FilmSource
  known: KnownFilms


@dataclasses.dataclass(frozen=True)
class Splits:
  """Films to learn from, to choose by, and to test on."""

  train: LabelledSplit
  validation: LabelledSplit
  test: LabelledSplit

  def __iter__(self):
    yield from (self.train, self.validation, self.test)


def open_splits(
  settings: LabelledDataSettings, data_dir: pathlib.Path
) -> Splits:
  """Opens the three splits and checks them.

  Raises:
    FileNotFoundError: the dataset is absent.
    ValueError: a split is empty, a label unknown, a patient in two splits, or
      the classes are not exclusive.
  """
  names = settings.train_split, settings.validation_split, settings.test_split
  sources = [open_films(data_dir, settings.dataset, name) for name in names]
  labels = chosen_labels(settings, sources[0].label_names)
  splits = [
    LabelledSplit(source, know_films(source, settings, labels))
    for source in sources
  ]
  check_splits(
    {s.source.split: s.known for s in splits}, exclusive=settings.exclusive
  )
  return Splits(*splits)


def chosen_labels(
  settings: LabelledDataSettings, there: Sequence[str]
) -> tuple[str, ...]:
  """Returns the labels to work with.

  Raises:
    ValueError: the dataset has none, or lacks one of them.
  """
  if not there:
    raise ValueError(
      f"dataset {settings.dataset} has no labels: prepare it with --labels_csv"
    )
  unknown = [name for name in settings.labels if name not in there]
  if unknown:
    raise ValueError(
      f"config.data.labels names {unknown[0]!r}, which {settings.dataset} does"
      f" not have; it has {', '.join(there)}"
    )
  return settings.labels or tuple(there)


def know_films(
  source: FilmSource,
  settings: LabelledDataSettings,
  labels: Sequence[str],
) -> KnownFilms:
  """Reads what is known of every film; their pictures stay closed."""
  columns = [source.label_names.index(name) for name in labels]
  rows = [_row(source[i]) for i in range(len(source))]
  raw = np.stack([row.pop("labels") for row in rows])
  # Policies look at all labels: No Finding can make the others negative.
  targets, valid = label_targets(
    raw,
    source.label_names,
    policy=settings.policy,
    dataset=settings.dataset.removesuffix("_published"),
  )
  targets, valid = targets[:, columns], valid[:, columns]
  if settings.exclusive:
    valid = np.repeat(valid.all(axis=1, keepdims=True), len(columns), axis=1)
  return KnownFilms(
    image_ids=[row["image_id"] for row in rows],
    patients=[row["patient_id"] for row in rows],
    views=[row["view"] for row in rows],
    sexes=[row["sex"] for row in rows],
    ages=np.array([row["age_years"] for row in rows], float),
    labels=targets * valid,
    valid=valid,
    label_names=tuple(labels),
  )


_KNOWN = ("image_id", "patient_id", "view", "sex", "age_years", "labels")


def _row(example: Mapping) -> dict:
  return {name: example[name] for name in _KNOWN}


def check_splits(
  splits: Mapping[str, KnownFilms], *, exclusive: bool = False
) -> None:
  """Refuses splits that would make the numbers worthless.

  Raises:
    ValueError: see `open_splits`.
  """
  for name, films in splits.items():
    if not len(films):
      raise ValueError(f"split {name!r} has no films")
    if not films.valid.any():
      raise ValueError(
        f"split {name!r} has no film with a known label among"
        f" {', '.join(films.label_names)}"
      )
    if exclusive:
      _check_classes(name, films)
  check_apart(splits)


def _check_classes(split: str, films: KnownFilms) -> None:
  known = films.valid.all(axis=1)
  wrong = np.flatnonzero(known & (films.labels.sum(axis=1) != 1))
  if len(wrong):
    count = int(films.labels[wrong[0]].sum())
    raise ValueError(
      f"film {films.image_ids[wrong[0]]} of split {split!r} belongs to {count}"
      f" of the classes {', '.join(films.label_names)}; with"
      " config.data.exclusive each film belongs to one"
    )


def check_apart(splits: Mapping[str, KnownFilms]) -> None:
  """Refuses splits that share patients or films.

  Args:
    splits: by name; only `patients` and `image_ids` are looked at.

  Raises:
    ValueError: names the patient or the film, and both splits.
  """
  for what, attribute in (("patient", "patients"), ("film", "image_ids")):
    seen: dict[str, str] = {}
    for split, films in splits.items():
      for name in dict.fromkeys(getattr(films, attribute)):
        if name and seen.setdefault(name, split) != split:
          raise ValueError(
            f"{what} {name} is in two splits, {seen[name]!r} and {split!r}: the"
            " test would know what was learnt; split by patient"
          )
