"""Scores the films of a folder by a stored model, into one table."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from scan42_jax.data.film import Film, RejectedFilm
from scan42_jax.data.images import read_film
from scan42_jax.eval.adapted import AdaptedModel
from scan42_jax.types import Float


def predict_files(
  model: AdaptedModel,
  folder: pathlib.Path,
  files: Sequence[str],
  output: pathlib.Path,
) -> tuple[int, int]:
  """Writes a row for each file; the CSV appears when it is complete.

  Args:
    model: scores films.
    folder: of the films.
    files: paths below it.
    output: the CSV.

  Returns:
    Numbers of films that were scored and that were refused.
  """
  names = [f"probability:{name}" for name in model.labels]
  calls = [f"call:{name}" for name in model.labels]
  counts = [0, 0]
  beside = output.with_name(output.name + ".tmp")
  with beside.open("w", newline="", encoding="utf-8") as stream:
    writer = csv.writer(stream)
    writer.writerow(("file", "view", "refused", *names, *calls))
    for batch in _batches(files, model.reader.batch_size):
      for row in _rows(model, folder, batch):
        counts[bool(row[2])] += 1
        writer.writerow(row)
  beside.replace(output)
  return counts[0], counts[1]


def _batches(files: Sequence[str], size: int) -> Iterator[Sequence[str]]:
  for first in range(0, len(files), size):
    yield files[first : first + size]


def _rows(
  model: AdaptedModel, folder: pathlib.Path, files: Sequence[str]
) -> Iterator[list[str]]:
  read = [_read(folder / file) for file in files]
  films = [film for film in read if isinstance(film, Film)]
  shares = iter(model.predict([f.pixels for f in films]) if films else ())
  blank = [""] * 2 * len(model.labels)
  for file, film in zip(files, read, strict=True):
    if not isinstance(film, Film):
      yield [file, "", film, *blank]
      continue
    values = next(shares)
    shown = (f"{value:.6f}" for value in values)
    yield [file, film.view, "", *shown, *_calls(model, values)]


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
