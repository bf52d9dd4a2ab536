"""Scores masks film by film; what is kept of a film are a few numbers.

Nothing here grows with pixels: counts of overlapping pixels and distances of
outlines give every figure, on all films and on resampled ones.
"""

from __future__ import annotations

import concurrent.futures
import csv
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from scan42_jax.eval.segmenting.film_view import (
  classes_of_film,
  labels_in_view,
)
from scan42_jax.eval.segmenting.mask_settings import MaskReportSettings
from scan42_jax.eval.segmenting.masked_films import (
  MaskedFilm,
  MaskedFilms,
  evaluation_batches,
)
from scan42_jax.metrics.overlap import count_overlap, dice, iou
from scan42_jax.metrics.surface import hausdorff95
from scan42_jax.types import Float, Int, UInt8
from scan42_jax.weights.preprocessing import Preprocessing

Score = Callable[[UInt8[np.ndarray, "N s s"]], Float[np.ndarray, "N h w K"]]
"""Prepared films to logits."""

Kind = Literal["dice", "dice per film", "iou", "hd95"]
KINDS: tuple[Kind, ...] = ("dice", "dice per film", "iou", "hd95")

UNION = "lungs, union"
SIDES = "lungs, mean of sides"
AVERAGE = "average of lungs (union) and heart"
EVERY = "mean of structures"


@dataclasses.dataclass(frozen=True)
class MaskScores:
  """Films and how well they were segmented.

  Attributes:
    image_ids: of the films.
    patients: '' if unknown.
    structures: names of the masks.
    counts: pixels in both, predicted, true; of the structures, then of the
      union of the lungs where both are among them.
    hd95: 95 % Hausdorff distance of each structure, pixels; NaN where just one
      of the two masks is empty.
  """

  image_ids: Sequence[str]
  patients: Sequence[str]
  structures: tuple[str, ...]
  counts: Int[np.ndarray, "N Q 3"]
  hd95: Float[np.ndarray, "N S"]

  @functools.cached_property
  def names(self) -> list[tuple[Kind, str]]:
    """What `__call__` returns."""
    areas = self._with_means(self.structures)
    return [
      *((kind, name) for kind in KINDS[:3] for name in areas),
      *(("hd95", name) for name in self.structures),
    ]

  def __call__(
    self, rows: Int[np.ndarray, "M"] | None = None
  ) -> Float[np.ndarray, "F"]:
    """Returns all figures of all films, or of some, perhaps repeated."""
    rows = np.arange(len(self.counts)) if rows is None else rows
    counts = self.counts[rows]
    pooled = counts.sum(axis=0)
    distances = self.hd95[rows]
    known = np.isfinite(distances)
    sums = np.where(known, distances, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0: no film has a distance.
      mean_distances = sums / known.sum(axis=0)
    return np.concatenate(
      [
        self._means(dice(pooled)),
        self._means(dice(counts).mean(axis=0)),
        self._means(iou(pooled)),
        mean_distances,
      ]
    )

  def per_film(self) -> Float[np.ndarray, "N"]:
    """Dice of each film, the mean over its structures."""
    return dice(self.counts)[:, : len(self.structures)].mean(axis=1)

  def _with_means(self, structures: Sequence[str]) -> list[str]:
    names = [*structures]
    if _has_both_lungs(self.structures):
      names += [UNION, SIDES]
    names.append(EVERY)
    if _has_both_lungs(self.structures) and "heart" in structures:
      names.append(AVERAGE)
    return names

  def _means(self, values: Float[np.ndarray, "Q"]) -> Float[np.ndarray, "A"]:
    """Adds the means of `_with_means` to the values of single regions."""
    size = len(self.structures)
    found = dict(zip(self.structures, values, strict=False))
    more = []
    if _has_both_lungs(self.structures):
      sides = (found["left_lung"] + found["right_lung"]) / 2
      more = [values[size], sides]
    more.append(values[:size].mean())
    if _has_both_lungs(self.structures) and "heart" in found:
      more.append((values[size] + found["heart"]) / 2)
    return np.array([*values[:size], *more])


def _has_both_lungs(structures: Sequence[str]) -> bool:
  return {"left_lung", "right_lung"} <= set(structures)


def regions(structures: Sequence[str]) -> list[tuple[int, ...]]:
  """Returns the classes of each region that is counted."""
  found = [(number,) for number in range(1, 1 + len(structures))]
  if _has_both_lungs(structures):
    lungs = (structures.index(s) + 1 for s in ("left_lung", "right_lung"))
    found.append(tuple(lungs))
  return found


def score_films(
  films: MaskedFilms,
  score: Score,
  how: Preprocessing,
  *,
  settings: MaskReportSettings,
  batch_size: int,
  num_threads: int,
  keep: Callable[[MaskedFilm, UInt8[np.ndarray, "H W"]], None] | None = None,
) -> MaskScores:
  """Scores every film of a split.

  Args:
    films: with masks.
    score: what is judged.
    how: films are prepared for it.
    settings: where it is scored.
    batch_size: films that are scored together.
    num_threads: that read, enlarge and measure.
    keep: gets each film and its classes at the mask's size, in order.

  Returns:
    The scores, in the films' order.
  """
  structures = films.structures
  measure = functools.partial(
    _measure, structures=structures, how=how, at=settings.score_at
  )
  found = []
  batches = evaluation_batches(
    films, how, batch_size=batch_size, num_threads=num_threads
  )
  with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
    for batch, some in batches:
      logits = score(batch.pixels)[: len(some)]
      for film, (classes, *numbers) in zip(
        some, pool.map(measure, some, logits), strict=True
      ):
        found.append(numbers)
        if keep is not None:
          keep(film, classes)
  counts, distances = zip(*found, strict=True)
  return MaskScores(
    image_ids=films.image_ids,
    patients=films.patients,
    structures=structures,
    counts=np.array(counts),
    hd95=np.array(distances, float),
  )


def _measure(film: MaskedFilm, logits, *, structures, how, at):
  """Returns the classes at the mask's size, overlaps, and distances."""
  side, whole = how.resize_px, how.squash
  classes = classes_of_film(logits, film.labels.shape, side=side, whole=whole)
  prediction, truth = classes, film.labels
  if at == "view":
    prediction = classes_of_film(logits, (side, side), side=side, whole=True)
    truth = labels_in_view(film.labels, side=side, whole=whole)
  counts = count_overlap(prediction, truth, regions(structures))
  distances = [
    hausdorff95(prediction == number, truth == number)
    for number in range(1, 1 + len(structures))
  ]
  return classes, counts, distances


def mean_training_mask(
  films: MaskedFilms, *, side: int, whole: bool, most: int = 2000
) -> tuple[Float[np.ndarray, "s s K"], int]:
  """Returns the share of training films that has each class at each place.

  As a prediction for every film it is what can be had without looking.

  Args:
    films: to learn from; shards hold them in random order.
    side: of the encoder's input.
    whole: the encoder sees whole films.
    most: films that are looked at.

  Returns:
    The shares, and of how many films they are.
  """
  count = min(len(films), most)
  numbers = np.arange(1 + len(films.structures))
  total = np.zeros((side, side, len(numbers)), np.float32)
  for number in range(count):
    labels = labels_in_view(films[number].labels, side=side, whole=whole)
    total += labels[..., None] == numbers
  return total / count, count


def write_mask_scores(path: pathlib.Path, scores: MaskScores) -> None:
  """Writes a row for each test film; a distance that is undefined is blank."""
  areas = dice(scores.counts)
  names = [*scores.structures]
  if areas.shape[1] > len(names):
    names.append(UNION)
  columns = [f"value:dice {name}" for name in names]
  columns += [f"value:hd95 px {name}" for name in scores.structures]
  beside = path.with_name(path.name + ".tmp")
  with beside.open("w", newline="", encoding="utf-8") as stream:
    writer = csv.writer(stream)
    writer.writerow(("split", "image_id", "patient_id", *columns))
    for i, image_id in enumerate(scores.image_ids):
      values = [*areas[i], *scores.hd95[i]]
      cells = ["" if np.isnan(v) else repr(float(v)) for v in values]
      writer.writerow(("test", image_id, scores.patients[i], *cells))
  beside.replace(path)
