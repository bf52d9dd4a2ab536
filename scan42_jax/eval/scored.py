"""Films with their scores, in memory and as predictions.csv."""

from __future__ import annotations

import csv
import dataclasses
import math
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from scan42_jax.eval.heads import probabilities
from scan42_jax.eval.splits import KnownFilms
from scan42_jax.types import Float, Int

PREDICTIONS = "predictions.csv"
_KNOWN = ("split", "image_id", "patient_id", "view", "sex", "age")
_PREFIXES = ("label", "score", "probability")


@dataclasses.dataclass(frozen=True)
class Scored:
  """Films and what was said of them.

  Attributes:
    films: what is known of them.
    scores: what they are ranked by, higher is likelier.
    probabilities: 0 to 1.
  """

  films: KnownFilms
  scores: Float[np.ndarray, "N C"]
  probabilities: Float[np.ndarray, "N C"]

  @classmethod
  def from_logits(
    cls,
    films: KnownFilms,
    logits: Float[np.ndarray, "N C"],
    *,
    exclusive: bool,
  ) -> Scored:
    """Ranks by logit; exclusive classes by probability, each against all."""
    shares = probabilities(logits, exclusive=exclusive)
    return cls(films, shares if exclusive else logits, shares)

  def take(self, rows: Int[np.ndarray, "M"]) -> Scored:
    """Returns some of the films."""
    return Scored(
      self.films.take(rows), self.scores[rows], self.probabilities[rows]
    )


def write_predictions(
  path: pathlib.Path, splits: Sequence[tuple[str, Scored]]
) -> None:
  """Writes a row for each film: what is known, scores, probabilities.

  Labels that are not known are blank, as are texts.
  """
  names = splits[0][1].films.label_names
  columns = [f"{prefix}:{name}" for prefix in _PREFIXES for name in names]
  beside = path.with_name(path.name + ".tmp")
  with beside.open("w", newline="", encoding="utf-8") as stream:
    writer = csv.writer(stream)
    writer.writerow((*_KNOWN, *columns))
    for split, scored in splits:
      writer.writerows([split, *cells] for cells in _cells(scored))
  beside.replace(path)


def _cells(scored: Scored) -> Iterator[list[str]]:
  films = scored.films
  for i in range(len(films)):
    age = films.ages[i]
    yield [
      films.image_ids[i],
      films.patients[i],
      films.views[i],
      films.sexes[i],
      "" if math.isnan(age) else f"{age:g}",
      *(
        f"{y:g}" if known else ""
        for y, known in zip(films.labels[i], films.valid[i], strict=True)
      ),
      # The shortest text that reads back as the same number.
      *(repr(float(s)) for s in scored.scores[i]),
      *(repr(float(p)) for p in scored.probabilities[i]),
    ]


def read_predictions(path: pathlib.Path, *, split: str = "test") -> Scored:
  """Reads one split of what `write_predictions` wrote.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it is another kind of file, or has no film of the split.
  """
  if not path.is_file():
    raise FileNotFoundError(f"{path}: no such file")
  with path.open(newline="", encoding="utf-8") as stream:
    reader = csv.DictReader(stream)
    columns = reader.fieldnames or []
    names = [c.removeprefix("label:") for c in columns if c[:6] == "label:"]
    if not names or set(_KNOWN) - set(columns):
      raise ValueError(f"{path} is no table of predictions by film")
    rows = [row for row in reader if row["split"] == split]
  if not rows:
    raise ValueError(f"{path} has no film of split {split!r}")

  def numbers(prefix: str) -> Float[np.ndarray, "N C"]:
    cells = [
      [row[f"{prefix}:{name}"] or "nan" for name in names] for row in rows
    ]
    return np.array(cells, float)

  labels = numbers("label")
  films = KnownFilms(
    image_ids=[row["image_id"] for row in rows],
    patients=[row["patient_id"] for row in rows],
    views=[row["view"] for row in rows],
    sexes=[row["sex"] for row in rows],
    ages=np.array([float(row["age"] or "nan") for row in rows]),
    labels=np.nan_to_num(labels),
    valid=~np.isnan(labels),
    label_names=tuple(names),
  )
  return Scored(films, numbers("score"), numbers("probability"))
