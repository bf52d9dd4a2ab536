"""Reads the CSV tables that come with films; knows no dataset."""

import csv
import gzip
import pathlib
from collections.abc import Iterator


def read_table(
  path: pathlib.Path, required: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
  """Yields the rows of a CSV file, plain or .gz.

  Args:
    path: the file, UTF-8 with or without a byte order mark.
    required: columns that must be there.

  Yields:
    Row number as a spreadsheet shows it (the header is row 1), and the cells
    by column, stripped.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a required column is missing or no text table is found.
  """
  if not path.is_file():
    raise FileNotFoundError(f"table {path} does not exist")
  opener = gzip.open if path.suffix == ".gz" else open
  with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
    try:
      yield from _rows(path, csv.DictReader(stream), required)
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile) as error:
      raise ValueError(f"{path.name} is no CSV table: {error}") from None


def table_columns(path: pathlib.Path, required: tuple[str, ...]) -> list[str]:
  """Returns the column names of a table with at least one row."""
  for _, cells in read_table(path, required):
    return list(cells)
  raise ValueError(f"table {path.name} has no rows")


def _rows(path, reader, required):
  columns = [name.strip() for name in reader.fieldnames or ()]
  absent = [name for name in required if name not in columns]
  if absent:
    raise ValueError(
      f"{path.name} has no column {', '.join(absent)}; "
      f"columns found: {', '.join(columns)}"
    )
  reader.fieldnames = columns
  for number, cells in enumerate(reader, start=2):
    if None in cells:
      raise ValueError(f"{path.name} row {number} has more cells than columns")
    yield number, {name: (text or "").strip() for name, text in cells.items()}
