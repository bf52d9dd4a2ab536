"""Lists the films of a release from its tables, with all that is wrong there.

Knows nothing of what is read from films or written to shards.
"""

import abc
import dataclasses
import pathlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from scan42_jax.datasets import film_files, labels, tables
from scan42_jax.datasets.reading import Options, Row


@dataclasses.dataclass
class Group:
  """The rows of a table that speak of one film.

  Attributes:
    where: place of the first of them.
    values: what was made of each.
    fault: why the first faulty one cannot be used, '' if all can.
  """

  where: str
  values: list = dataclasses.field(default_factory=list)
  fault: str = ""


class FilmList(abc.ABC):
  """The list of films of one release; a subclass defines `listed_rows`."""

  def __init__(self, options: Options):
    self.options = options
    self._table_faults: list[Row] = []

  @abc.abstractmethod
  def listed_rows(self) -> Iterator[Row]:
    """Lists the films that the tables of the release name, opening none.

    A row that cannot be used is yielded with its `fault`; see `parse_table`.

    Raises:
      ValueError, FileNotFoundError: one line about what the source lacks.
    """

  def film_folders(self) -> Iterable[pathlib.Path]:
    """Folders under the source in which every film ought to have a row."""
    return ()

  def rows(self) -> Iterator[Row]:
    """Lists the films, then the faults of the tables and films without a row.

    Of rows with one file or one image id, all but the first have a fault.

    Raises:
      ValueError, FileNotFoundError: one line about what the source lacks.
    """
    self._table_faults = []
    files: dict[str, str] = {}
    images: dict[str, str] = {}
    for row in self.listed_rows():
      yield row if row.fault else _mark_twin(row, files, images)
      files.setdefault(row.file, row.where)
    yield from self._table_faults
    for folder in self.film_folders():
      prefix = folder.relative_to(self.options.source)
      for name in film_files.find_films(folder):
        file = (prefix / name).as_posix()
        if file not in files:
          files[file] = file
          yield Row(file=file, where=file, fault="no table lists this film")

  def parse_table(
    self,
    path: pathlib.Path,
    required: tuple[str, ...],
    parse: Callable[[tables.Cells, str], Row],
    *,
    file_of: Callable[[tables.Cells], str] | None = None,
    optional: tuple[str, ...] | None = None,
  ) -> Iterator[Row]:
    """Yields a row for each row of a table; what is wrong becomes a fault.

    Args:
      path: the table.
      required: columns that must be there.
      parse: makes a row from cells and the place for messages; its ValueError
        becomes the fault of the row.
      file_of: names the film of a row, also of one that `parse` refuses, which
        else is listed by its place, and its film as one without a row.
      optional: columns that may be there; None allows any.
    """
    cells = self.table_cells(path, required, optional=optional)
    for number, values in cells:
      where = f"{path.name} row {number}"
      try:
        row = parse(values, where)
      except ValueError as error:
        file = _file_of(values, file_of) or where
        row = Row(file=file, where=where, fault=f"{where}: {error}")
      yield row

  def table_cells(
    self,
    path: pathlib.Path,
    required: tuple[str, ...],
    *,
    optional: tuple[str, ...] | None = None,
  ) -> Iterator[tuple[int, tables.Cells]]:
    """Reads a table as `tables.read_table`, keeping its faults for `rows`."""
    return tables.read_table(
      path, required, optional=optional, on_fault=self.add_fault
    )

  def keyed_table(
    self,
    path: pathlib.Path,
    required: tuple[str, ...],
    parse: Callable[[tables.Cells], tuple[Hashable, Any]],
    *,
    optional: tuple[str, ...] | None = None,
  ) -> dict[Hashable, Any]:
    """Reads a table that is joined to another one.

    Args:
      path: the table.
      required: columns that must be there.
      parse: makes key and value of a row; its ValueError is a fault.
      optional: columns that may be there; None allows any.

    Returns:
      The values by key. Of rows with one key the first counts, the others are
      faults.
    """
    values: dict[Hashable, Any] = {}
    cells = self.table_cells(path, required, optional=optional)
    for number, row_cells in cells:
      place = f"{path.name} row {number}"
      try:
        key, value = parse(row_cells)
      except ValueError as error:
        self.add_fault(place, f"cannot be used: {error}")
        continue
      if key in values:
        self.add_fault(place, f"lists {key} for the second time")
      values.setdefault(key, value)
    return values

  def grouped_table(
    self,
    path: pathlib.Path,
    required: tuple[str, ...],
    parse: Callable[[tables.Cells], Any],
    *,
    optional: tuple[str, ...] | None = None,
  ) -> dict[str, Group]:
    """Reads a table that has several rows for one film.

    Args:
      path: the table.
      required: columns that must be there; the first names the film.
      parse: makes a value of a row; its ValueError is a fault of the film.
      optional: columns that may be there; None allows any.

    Returns:
      The rows by film. Rows that say the same as an earlier one are faults.
    """
    groups: dict[str, Group] = {}
    cells = self.table_cells(path, required, optional=optional)
    for number, row_cells in cells:
      place = f"{path.name} row {number}"
      group = groups.setdefault(row_cells[required[0]], Group(place))
      try:
        value = parse(row_cells)
      except ValueError as error:
        group.fault = group.fault or f"{place}: {error}"
        continue
      if value in group.values:
        self.add_fault(place, "repeats an earlier row")
      else:
        group.values.append(value)
    return groups

  def add_fault(self, place: str, reason: str) -> None:
    """Notes a fault of a table; `rows` sends it to the quarantine list.

    Args:
      place: 'train.csv', or 'train.csv row 7'.
      reason: goes on where the place ends: 'has fewer cells than columns'.
    """
    fault = f"{place} {reason}"
    self._table_faults.append(Row(file=place, where=place, fault=fault))


def _file_of(cells: tables.Cells, file_of) -> str:
  try:
    return file_of(cells) if file_of else ""
  except ValueError:
    return ""


def with_labels(row: Row, cells: tables.Cells, names: tuple[str, ...]) -> Row:
  """Adds the labels of a table made from reports; blank is not mentioned.

  Args:
    row: without labels.
    cells: of the table.
    names: of the label columns, in the order of the dataset.

  Returns:
    The row with labels, or with a fault if a cell holds none.
  """
  try:
    values = labels.parse_labels(cells, names, blank=labels.NOT_MENTIONED)
  except ValueError as error:
    return dataclasses.replace(row, fault=f"{row.where}: {error}")
  return dataclasses.replace(row, labels=values)


def _mark_twin(row: Row, files: dict[str, str], images: dict[str, str]) -> Row:
  """Gives a row a fault if its file or image id has been listed before.

  Args:
    row: the row.
    files: places of the rows so far, by file.
    images: likewise by image id; the row is added.
  """
  image_id = row.image_id or row.file
  for name, places in ((row.file, files), (image_id, images)):
    if name in places:
      fault = f"{name} is listed twice: {places[name]} and {row.where}"
      return dataclasses.replace(row, fault=fault)
  images[image_id] = row.where
  return row
