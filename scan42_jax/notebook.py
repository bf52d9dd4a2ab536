"""What notebooks need: binaries whose lines appear in the cell, phantom films.

  from scan42_jax import notebook
  notebook.run("status", "work/quickstart")

Works in plain Python, too.
"""

from __future__ import annotations

import csv
import dataclasses
import html
import pathlib
import subprocess
import sys

import numpy as np

from scan42_jax.cli import COMMANDS
from scan42_jax.datasets.phantom_files import write_dicom, write_mask
from scan42_jax.datasets.phantom_film import LABELS, render

_SEED = 1  # Other films than those of the dataset `phantom`.
_SIZE_PX = 160
_FILMS, _MASKS_FOLDER = "dicom", "masks"
_MASKS = ("left_lung", "right_lung", "heart")


def run(command: str, *words: str) -> None:
  """Runs a binary and prints its lines as they come.

  Args:
    command: as after `scan42`: 'pretrain', 'eval classification', ...
    *words: flags and arguments.

  Raises:
    RuntimeError: it ended with another exit code than 0.
  """
  module, _ = COMMANDS[command]
  process = subprocess.Popen(
    [sys.executable, "-m", module, *map(str, words)],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  for line in process.stdout:
    print(line, end="", flush=True)
  if process.wait():
    raise RuntimeError(f"scan42 {command} ended with {process.returncode}")


@dataclasses.dataclass(frozen=True)
class Page:
  """A report, shown where a cell ends in it.

  Attributes:
    path: of the page.
    height_px: of the frame that it is shown in.
  """

  path: str | pathlib.Path
  height_px: int = 700

  def _repr_html_(self) -> str:
    page = pathlib.Path(self.path).read_text(encoding="utf-8")
    style = f"width:100%;height:{self.height_px}px;border:1px solid #8884"
    return f'<iframe srcdoc="{html.escape(page)}" style="{style}"></iframe>'


def draw_phantoms(folder: str | pathlib.Path, count: int) -> pathlib.Path:
  """Draws frontal phantom films as DICOM, with masks, labels and reports.

  What is there already is not drawn again.

  Args:
    folder: gets `labels.csv`, the films in `dicom/` and masks in `masks/`.
    count: of films.

  Returns:
    The table, for `prepare --dataset=folder --labels_csv=...`.
  """
  folder = pathlib.Path(folder)
  table = folder / "labels.csv"
  if table.is_file():
    return table
  for name in (_FILMS, _MASKS_FOLDER):
    (folder / name).mkdir(parents=True, exist_ok=True)
  rows, number = [], 0
  while len(rows) < count:
    film = render(_SEED, number, size_px=_SIZE_PX)
    number += 1
    if film.view != "LATERAL":
      rows.append(_write(folder, f"film_{len(rows):05d}", film))
  beside = table.with_suffix(".tmp")
  with beside.open("w", newline="") as stream:
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
  beside.replace(table)
  return table


def _write(folder: pathlib.Path, name: str, film) -> dict[str, object]:
  """Writes the files of a film and returns its row of the table."""
  rng = np.random.default_rng([_SEED, int(name.removeprefix("film_"))])
  file = f"{_FILMS}/{name}.dcm"
  write_dicom(folder / file, film, rng=rng)
  masks = {}
  for mask in _MASKS:
    masks[f"mask_{mask}"] = f"{_MASKS_FOLDER}/{name}_{mask}.png"
    write_mask(folder / masks[f"mask_{mask}"], getattr(film, mask))
  return {
    "file": file,
    "patient_id": film.patient_id,
    "split": film.split,
    "view": film.view,
    "sex": film.sex,
    "age": film.age,
    "findings": film.report_findings,
    "impression": film.impression,
    **masks,
    **dict(zip(LABELS, film.labels, strict=True)),
  }
