"""The two file formats of features: Parquet for pooled ones, ArrayRecord for
patch grids. docs/features.md shows how to read them.
"""

from __future__ import annotations

import io
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from scan42_jax.extraction.films import KnownFilm
from scan42_jax.extraction.parts import Columns
from scan42_jax.types import Float

TEXTS = ("image_id", "patient_id", "split", "view")
"""What is stored of a film besides its features; '' or null where unknown."""

_IDENTITY = b"scan42"
_ROWS_OF_A_GROUP = 1024


class Output(Protocol):
  """A file format."""

  def columns(
    self,
    *,
    cls: Float[np.ndarray, "N D"],
    registers: Float[np.ndarray, "N R D"],
    patches: Float[np.ndarray, "N h w D"],
  ) -> Columns:
    """Returns what the format keeps of a batch's features."""

  def write(
    self, path: pathlib.Path, parts: Iterable[Columns], identity: Mapping
  ) -> None:
    """Writes a whole file from columns with the texts of each film."""

  def read_identity(self, path: pathlib.Path) -> Mapping[str, Any]:
    """Returns what a file was written with, {} for a file of others."""


def output_for(path: pathlib.Path) -> Output:
  """Chooses the format by the file's ending.

  Raises:
    ValueError: it is neither.
  """
  if path.suffix == ".parquet":
    return ParquetOutput()
  if path.suffix == ".array_record":
    return ArrayRecordOutput()
  raise ValueError(
    f"output {path} ends in neither .parquet (class token and mean patch) nor"
    " .array_record (patch grids)"
  )


def film_texts(films: Sequence[KnownFilm]) -> Columns:
  """Returns the columns TEXTS of films."""
  return {
    name: np.array([getattr(film, name) for film in films], np.str_)
    for name in TEXTS
  }


class ParquetOutput:
  """Class token and mean patch of each film, a row each.

  Columns: TEXTS, and `cls` and `patch_mean` as float32 lists of fixed length.
  The file's metadata holds the identity as JSON under the key `scan42`.
  """

  def columns(self, *, cls, registers, patches) -> Columns:
    """Keeps class token and mean patch; registers hold no place in a film."""
    del registers
    return {"cls": cls, "patch_mean": patches.mean(axis=(1, 2))}

  def write(self, path, parts, identity) -> None:
    """Writes row groups of a fixed size, however large the parts are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    width = identity["encoder"]["width"]
    schema = pa.schema(
      [(name, pa.string()) for name in TEXTS]
      + [(name, pa.list_(pa.float32(), width)) for name in self._FEATURES],
      metadata={_IDENTITY: json.dumps(identity)},
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
      for rows in _regrouped(parts, [*TEXTS, *self._FEATURES]):
        arrays = [_arrow_column(rows[field.name], field) for field in schema]
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

  def read_identity(self, path) -> Mapping[str, Any]:
    """Reads the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
      metadata = pq.read_schema(path).metadata or {}
    except pa.ArrowInvalid:
      return {}
    return json.loads(metadata.get(_IDENTITY, b"{}"))

  _FEATURES = ("cls", "patch_mean")


class ArrayRecordOutput:
  """One record per film: the bytes of an `.npz`.

  Its arrays: TEXTS as texts, `cls` [D], `registers` [R, D], `patches`
  [h, w, D] in float32, and `scan42`, the identity as JSON.
  """

  def columns(self, *, cls, registers, patches) -> Columns:
    """Keeps every token."""
    return {"cls": cls, "registers": registers, "patches": patches}

  def write(self, path, parts, identity) -> None:
    """Writes the records in the order of the films."""
    from array_record.python.array_record_module import ArrayRecordWriter

    known = {_IDENTITY.decode(): np.array(json.dumps(identity))}
    # Floats hardly shrink; a group of one lets each record be read alone.
    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for columns in parts:
      names = [*TEXTS, "cls", "registers", "patches"]
      for values in zip(*(columns.get(n, ()) for n in names), strict=True):
        record = io.BytesIO()
        np.savez(record, **dict(zip(names, values, strict=True)), **known)
        writer.write(record.getvalue())
    writer.close()

  def read_identity(self, path) -> Mapping[str, Any]:
    """Reads the first record."""
    from array_record.python.array_record_module import ArrayRecordReader

    try:
      reader = ArrayRecordReader(str(path))
      with np.load(io.BytesIO(reader.read([0])[0])) as record:
        return json.loads(str(record[_IDENTITY.decode()]))
    # ArrayRecord tells of foreign files by several unrelated exceptions.
    except Exception:
      return {}


def _regrouped(
  parts: Iterable[Columns], names: Sequence[str]
) -> Iterator[dict[str, np.ndarray]]:
  """Cuts columns into groups of _ROWS_OF_A_GROUP rows, the last one shorter."""
  held: list[dict[str, np.ndarray]] = []
  rows = 0
  for part in parts:
    if names[0] not in part:
      continue  # All of its films were refused.
    held.append({name: part[name] for name in names})
    rows += len(part[names[0]])
    if rows >= _ROWS_OF_A_GROUP:
      joined = _joined_rows(held, names)
      full = rows - rows % _ROWS_OF_A_GROUP
      for first in range(0, full, _ROWS_OF_A_GROUP):
        yield {
          n: x[first : first + _ROWS_OF_A_GROUP] for n, x in joined.items()
        }
      held = [{name: x[full:] for name, x in joined.items()}]
      rows -= full
  if rows:
    yield _joined_rows(held, names)


def _joined_rows(held, names):
  return {name: np.concatenate([h[name] for h in held]) for name in names}


def _arrow_column(values: np.ndarray, field):
  """Makes an Arrow array; empty texts become null."""
  import pyarrow as pa

  if pa.types.is_string(field.type):
    return pa.array([text or None for text in values.tolist()], field.type)
  flat = pa.array(np.ascontiguousarray(values).ravel())
  return pa.FixedSizeListArray.from_arrays(flat, type=field.type)
