"""What a stored model says of the films of a folder, in one table."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from scan42_jax.data.film import Film, RejectedFilm
from scan42_jax.data.images import read_film
from scan42_jax.eval.adapted import AdaptedModel
from scan42_jax.eval.reports.reporter import Reporter
from scan42_jax.types import Float, UInt8


def predict_files(
  model: AdaptedModel,
  folder: pathlib.Path,
  files: Sequence[str],
  output: pathlib.Path,
) -> tuple[int, int]:
  """Writes probabilities and calls of each file; see `write_table`."""
  names = [f"probability:{name}" for name in model.labels]
  calls = [f"call:{name}" for name in model.labels]

  def score(films: Sequence[UInt8[np.ndarray, "_ _"]]) -> Iterator[list[str]]:
    for values in model.predict(films):
      yield [*(f"{value:.6f}" for value in values), *_calls(model, values)]

  return write_table(
    folder,
    files,
    output,
    columns=[*names, *calls],
    batch_size=model.reader.batch_size,
    tell=score,
  )


def predict_texts(
  reporter: Reporter,
  folder: pathlib.Path,
  files: Sequence[str],
  output: pathlib.Path,
) -> tuple[int, int]:
  """Writes what a reporter says of each file; see `write_table`."""
  return write_table(
    folder,
    files,
    output,
    columns=[reporter.section],
    batch_size=reporter.batch_size,
    tell=lambda films: [[text] for text in reporter.write(films)],
  )


def write_table(
  folder: pathlib.Path,
  files: Sequence[str],
  output: pathlib.Path,
  *,
  columns: Sequence[str],
  batch_size: int,
  tell: Callable[[Sequence[UInt8[np.ndarray, "_ _"]]], Iterable[list[str]]],
) -> tuple[int, int]:
  """Writes a row for each file; the CSV appears when it is complete.

  Args:
    folder: of the films.
    files: paths below it.
    output: the CSV.
    columns: names of what is told of a film.
    batch_size: films that are read together.
    tell: films -> what is told of each.

  Returns:
    Numbers of films that were scored and that were refused.
  """
  refused = 0
  beside = output.with_name(output.name + ".tmp")
  with beside.open("w", newline="", encoding="utf-8") as stream:
    writer = csv.writer(stream)
    writer.writerow(("file", "view", "refused", *columns))
    for first in range(0, len(files), batch_size):
      some = files[first : first + batch_size]
      read = [_read(folder / file) for file in some]
      films = [film.pixels for film in read if isinstance(film, Film)]
      told = iter(tell(films) if films else ())
      for file, film in zip(some, read, strict=True):
        if isinstance(film, Film):
          writer.writerow((file, film.view, "", *next(told)))
        else:
          refused += 1
          writer.writerow((file, "", film, *[""] * len(columns)))
  beside.replace(output)
  return len(files) - refused, refused


def _calls(model: AdaptedModel, values: Float[np.ndarray, "C"]) -> list[str]:
  """'1' or '0' by label; '' where validation had no threshold to choose."""
  if model.exclusive:
    return [str(int(value == values.max())) for value in values]
  return [
    "" if np.isnan(threshold) else str(int(value >= threshold))
    for value, threshold in zip(values, model.thresholds, strict=True)
  ]


def _read(path: pathlib.Path) -> Film | str:
  """Returns a film, or why there is none."""
  try:
    return read_film(path)
  except RejectedFilm as error:
    return str(error)
