"""`folder`: any tree of DICOM, PNG and JPEG films, with or without a table."""

import dataclasses
import fnmatch
import pathlib
from collections.abc import Iterator

from scan42_jax.datasets import base, labels, tables
from scan42_jax.datasets.film_files import find_films
from scan42_jax.datasets.reading import MASK_NAMES, Row

_MASK_COLUMNS = {name: f"mask_{name}" for name in MASK_NAMES}
_COLUMNS = (
  "file",
  "patient_id",
  "split",
  "view",
  "sex",
  "age",
  *base.TEXTS,
  *_MASK_COLUMNS.values(),
)
_SPLITS = {"val": "validation", "valid": "validation", "validate": "validation"}
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}


class Folder(base.FilmDataset):
  """Chest X-rays of a folder.

  Without a table every film under the source is taken, DICOM files also
  without a suffix. With `labels_csv` the table is the list of films: column
  `file` (path under the source) and, as far as they are there, patient_id,
  split (train, validation, test), view, sex (M, F), age (years), report and
  its findings, impression, indication, mask_left_lung, mask_right_lung,
  mask_heart (PNG under the source). Every other column is a label: 1, 0, -1
  uncertain, blank not annotated.
  """

  NAMES_PEOPLE = True

  def label_names(self) -> tuple[str, ...]:
    """The columns of the table that have no other meaning."""
    if self.options.labels_csv is None:
      return ()
    columns = tables.table_columns(self.options.labels_csv, ("file",))
    return tuple(name for name in columns if name not in _COLUMNS)

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of the table, or of the tree."""
    if self.options.labels_csv is None:
      for file in find_films(self.options.source):
        if not self._is_excluded(file):
          yield Row(file=file, where=file)
      return
    names = self.label_names()
    path = self.options.labels_csv
    for number, cells in tables.read_table(path, ("file",)):
      where = f"{path.name} row {number}"
      row = _table_row(cells, names, where)
      if not self._is_excluded(row.file):
        yield row

  def _is_excluded(self, file: str) -> bool:
    return any(fnmatch.fnmatch(file, glob) for glob in self.options.exclude)


def _table_row(
  cells: dict[str, str], names: tuple[str, ...], where: str
) -> Row:
  file = pathlib.PurePosixPath(cells["file"])
  if not cells["file"] or file.is_absolute() or ".." in file.parts:
    raise ValueError(f"{where}: file {cells['file']!r} is no path under source")
  row = Row(
    file=str(file),
    patient_id=cells.get("patient_id", ""),
    view=cells.get("view", "").upper(),
    **{name: cells.get(name, "") for name in base.TEXTS},
    masks={
      name: cells[column]
      for name, column in _MASK_COLUMNS.items()
      if cells.get(column)
    },
    where=where,
  )
  try:
    return dataclasses.replace(
      row,
      split=_known(cells, "split", _SPLITS | {n: n for n in base.SPLITS}),
      sex=_known(cells, "sex", _SEXES),
      age_years=float(cells.get("age") or "nan"),
      labels=tuple(_label(cells, name) for name in names),
    )
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from None


def _known(cells: dict[str, str], column: str, meanings: dict[str, str]) -> str:
  text = cells.get(column, "").lower()
  if text and text not in meanings:
    raise ValueError(f"{column} {text!r} is not in {sorted(meanings)}")
  return meanings[text] if text else ""


def _label(cells: dict[str, str], name: str) -> int:
  try:
    return labels.parse_label(cells[name], blank=labels.MISSING)
  except ValueError as error:
    raise ValueError(
      f"{error} in column {name!r}; drop the column if it is no label"
    ) from None
