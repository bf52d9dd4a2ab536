"""Segments the films of a folder by a stored model."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence

from scan42_jax.data.film import RejectedFilm
from scan42_jax.data.images import read_film
from scan42_jax.eval.segmenting.mask_files import MaskWriter
from scan42_jax.eval.segmenting.segmenter import Segmenter

TABLE = "films.csv"
"""A row for each file: its masks, or why there are none."""


def predict_masks(
  segmenter: Segmenter,
  folder: pathlib.Path,
  files: Sequence[str],
  output: pathlib.Path,
) -> tuple[int, int]:
  """Writes the masks of each film as PNG, as run lengths, and a table.

  A file that gives no film has a row with the reason. The tables appear when
  they are complete.

  Args:
    segmenter: finds the structures.
    folder: of the films.
    files: paths below it.
    output: folder of the masks.

  Returns:
    Numbers of films that were segmented and that were refused.
  """
  names = segmenter.structures
  refused = 0
  with MaskWriter(output, names) as masks:
    beside = output / f"{TABLE}.tmp"
    with beside.open("w", newline="", encoding="utf-8") as stream:
      table = csv.writer(stream)
      table.writerow(("file", "view", "refused", *(f"mask_{n}" for n in names)))
      for file in files:
        try:
          film = read_film(folder / file)
        except RejectedFilm as error:
          refused += 1
          table.writerow((file, "", error, *[""] * len(names)))
          continue
        written = masks.write(file, segmenter.segment(film.pixels))
        table.writerow((file, film.view, "", *(p.name for p in written)))
    beside.replace(output / TABLE)
  return len(files) - refused, refused
