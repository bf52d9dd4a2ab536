"""Finds and reads the CSV tables that come with films; knows no dataset.

A table or column that is absent stops in one line. What is wrong with single
rows, or with the file's end or encoding, is told to the caller and left out.
"""

import csv
import gzip
import itertools
import pathlib
import zlib
from collections.abc import Callable, Iterator

Cells = dict[str, str]

OnFault = Callable[[str, str], None]
"""Takes the place of a fault ('train.csv row 7') and what is wrong there."""


def find_table(source: pathlib.Path, *names: str) -> pathlib.Path:
  """Returns the table of a release.

  Args:
    source: folder in which it should lie.
    names: what it is called in the versions of the release, best first; each
      may also be there with `.gz`, or without.

  Raises:
    FileNotFoundError: see `not_found`.
  """
  for path in _candidates(source, names):
    if path.is_file():
      return path
  raise not_found(source, *names)


def not_found(source: pathlib.Path, *names: str) -> FileNotFoundError:
  """Returns the error about a source that has none of some files or folders.

  It is one line with what was expected, what is there instead, and where that
  lies if the source is one level off.
  """
  if not source.is_dir():
    return FileNotFoundError(f"{source} is no folder")
  return FileNotFoundError(
    f"{' or '.join(names)} is not in {source}; {_contents(source)}"
    f"{_hint(source, names)}"
  )


def optional_table(source: pathlib.Path, *names: str) -> pathlib.Path | None:
  """Returns the table of a release as `find_table` does, None if absent."""
  return next((p for p in _candidates(source, names) if p.is_file()), None)


def read_table(
  path: pathlib.Path,
  required: tuple[str, ...],
  *,
  optional: tuple[str, ...] | None = None,
  on_fault: OnFault | None = None,
) -> Iterator[tuple[int, Cells]]:
  """Yields the rows of a CSV file, plain or .gz.

  Args:
    path: the file, UTF-8 with or without a byte order mark, or CP-1252.
    required: columns that must be there.
    optional: columns that may be there; None allows any.
    on_fault: takes faults that leave the rest of the table readable: rows with
      more or fewer cells than columns, columns that are not of the release, a
      file that ends early or is not UTF-8. Without it they are errors.

  Yields:
    Row number as a spreadsheet shows it (the header is row 1), and the cells
    by column, stripped.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a required column is missing, no text table is found, or a
      fault that nobody takes.
  """
  if not path.is_file():
    raise FileNotFoundError(f"table {path} does not exist")
  fault = on_fault or _stop
  lines = read_lines(path, on_fault=fault)
  try:
    reader = csv.DictReader(lines)
    columns = [name.strip() for name in reader.fieldnames or ()]
    _check_columns(path, columns, required, optional, fault)
    reader.fieldnames = columns
    yield from _rows(path, reader, fault)
  except csv.Error as error:
    raise ValueError(f"{path.name} is no CSV table: {error}") from None


def read_lines(
  path: pathlib.Path, *, on_fault: OnFault | None = None
) -> Iterator[str]:
  """Yields the lines of a text file, plain or .gz, with their ends.

  Args:
    path: the file, UTF-8 with or without a byte order mark, or CP-1252.
    on_fault: takes what `read_table` says of the file's end and encoding.

  Raises:
    ValueError: the file is no text, or a fault that nobody takes.
  """
  fault = on_fault or _stop
  opener = gzip.open if path.suffix == ".gz" else open
  number = foreign = 0
  with opener(path, "rb") as stream:
    try:
      for number, line in enumerate(stream, start=1):
        try:
          text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
          text = _decode(path, line)
          foreign += 1
        yield text
    except EOFError:
      fault(path.name, f"is cut short after line {number}; get it again")
    except (zlib.error, gzip.BadGzipFile) as error:
      # Any line may be wrong, also those that look sound.
      raise ValueError(
        f"{path.name} is damaged, get it again: {error}"
      ) from None
  if foreign:
    fault(path.name, f"has {foreign} lines in CP-1252 instead of UTF-8")


def table_columns(path: pathlib.Path, required: tuple[str, ...]) -> list[str]:
  """Returns the column names of a table with at least one row."""
  for _, cells in read_table(path, required):
    return list(cells)
  raise ValueError(f"table {path.name} has no rows")


def _stop(place: str, reason: str) -> None:
  raise ValueError(f"{place} {reason}")


def _decode(path: pathlib.Path, line: bytes) -> str:
  if b"\0" in line:
    raise ValueError(f"{path.name} is no text: it holds zeros")
  return line.decode("cp1252", errors="replace")


def _check_columns(path, columns, required, optional, fault):
  absent = [name for name in required if name not in columns]
  if absent:
    raise ValueError(
      f"{path.name} has no column {', '.join(absent)}; "
      f"columns found: {', '.join(columns)}"
    )
  twice = {name for name in columns if name and columns.count(name) > 1}
  if twice:
    raise ValueError(f"{path.name} has column {min(twice)} twice")
  known = {*required, *(columns if optional is None else optional), ""}
  for name in columns:
    if name not in known:
      fault(path.name, f"has column {name}, which the release has not")


def _rows(path, reader, fault):
  for number, cells in enumerate(reader, start=2):
    if None in cells:
      fault(f"{path.name} row {number}", "has more cells than columns")
    elif any(text is None for name, text in cells.items() if name):
      fault(f"{path.name} row {number}", "has fewer cells than columns")
    else:
      yield number, {name: (text or "").strip() for name, text in cells.items()}


def _candidates(source, names) -> Iterator[pathlib.Path]:
  for name in names:
    yield source / name
    yield source / (
      name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"
    )


def _contents(source: pathlib.Path) -> str:
  found = sorted(path.name for path in itertools.islice(source.iterdir(), 500))
  shown = ", ".join(found[:6]) or "nothing"
  return f"found: {shown}{', ...' if len(found) > 6 else ''}"


def _hint(source: pathlib.Path, names) -> str:
  """Looks one level higher and one lower, the commonest mistake."""
  nearby = [source.resolve().parent]
  nearby += sorted(path for path in source.iterdir() if path.is_dir())[:200]
  for folder in nearby:
    if any(path.exists() for path in _candidates(folder, names)):
      return f"; it is in {folder}: give --source={folder}"
  return ""
