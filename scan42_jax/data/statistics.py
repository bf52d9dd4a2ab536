"""Counts what a prepared dataset holds: patients, views, ages, labels, sizes.

Reads every record and decodes no picture.
"""

import collections
import dataclasses
import math
from collections.abc import Callable

from scan42_jax.data import images
from scan42_jax.data.sources import FilmSource
from scan42_jax.datasets import labels

_AGE_BAND_YEARS = 10
_LAST_BAND_YEARS = 90

UNKNOWN = "unknown"

Counts = collections.Counter


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitCounts:
  """What one split holds; each Counter adds up to its films.

  Attributes:
    split: its name.
    num_films: films.
    patients: films of each known patient.
    views: view position.
    sexes: 'M', 'F' or UNKNOWN.
    ages: bands of ten years.
    labels: for each label its codes, see datasets/labels.py.
    sizes: height and width in pixels.
    extras: films with a report, masks or boxes.
  """

  split: str
  num_films: int = 0
  patients: Counts = dataclasses.field(default_factory=Counts)
  views: Counts = dataclasses.field(default_factory=Counts)
  sexes: Counts = dataclasses.field(default_factory=Counts)
  ages: Counts = dataclasses.field(default_factory=Counts)
  labels: dict[str, Counts] = dataclasses.field(default_factory=dict)
  sizes: Counts = dataclasses.field(default_factory=Counts)
  extras: Counts = dataclasses.field(default_factory=Counts)


def count_split(source: FilmSource) -> SplitCounts:
  """Counts the films of a split."""
  counts = SplitCounts(
    split=source.split,
    num_films=len(source),
    labels={name: Counts() for name in source.label_names},
  )
  for film in source:
    if film["patient_id"]:
      counts.patients[film["patient_id"]] += 1
    counts.views[film["view"] or UNKNOWN] += 1
    counts.sexes[film["sex"] or UNKNOWN] += 1
    counts.ages[age_band(film["age_years"])] += 1
    counts.sizes[images.film_size(film["image"])] += 1
    counts.extras["report"] += bool(film["report"])
    counts.extras["masks"] += any(film["masks"].values())
    counts.extras["boxes"] += len(film["box_labels"]) > 0
    for name, code in zip(source.label_names, film["labels"], strict=True):
      counts.labels[name][int(code)] += 1
  return counts


def age_band(years: float) -> str:
  """Returns '40-49' for 44.5, '90+' from 90 on, UNKNOWN for NaN."""
  if math.isnan(years):
    return UNKNOWN
  if years >= _LAST_BAND_YEARS:
    return f"{_LAST_BAND_YEARS}+"
  first = int(years // _AGE_BAND_YEARS * _AGE_BAND_YEARS)
  return f"{first}-{first + _AGE_BAND_YEARS - 1}"


def quantile(
  counts: Counts, share: float, *, key: Callable = lambda value: value
) -> float:
  """Returns the smallest value that at least a share of all does not exceed.

  Args:
    counts: how often each value occurs; not empty.
    share: 0 gives the smallest, 1 the largest value.
    key: turns a counted value into a number.
  """
  values = Counts()
  for value, number in counts.items():
    values[key(value)] += number
  wanted = share * values.total()
  reached = 0
  for value in sorted(values):
    reached += values[value]
    if reached >= wanted:
      return value
  raise ValueError("no values")


def positives(counts: Counts) -> float:
  """Returns positive over positive and negative films, NaN without either."""
  judged = counts[labels.POSITIVE] + counts[labels.NEGATIVE]
  return counts[labels.POSITIVE] / judged if judged else math.nan
