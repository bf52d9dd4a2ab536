"""Both formats, read back by nothing but their own libraries."""

import io
import json
import pathlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from array_record.python import array_record_data_source

from scan42_jax.extraction import outputs
from scan42_jax.extraction.films import KnownFilm
from scan42_jax.extraction.outputs import (
  ArrayRecordOutput,
  ParquetOutput,
  film_texts,
  output_for,
)

WIDTH = 6
IDENTITY = {"encoder": {"width": WIDTH}, "films": "digest"}


def _part(output, first, end, *, seed=0):
  """What the extraction of films first..end leaves."""
  rng = np.random.default_rng((seed, first))
  films = [
    KnownFilm(
      pixels=np.zeros((1, 1), np.uint8),
      image_id=f"folder/{i}.png",
      patient_id="" if i % 2 else f"p{i}",
      split="",
      view="PA",
    )
    for i in range(first, end)
  ]
  tokens = {
    name: rng.normal(size=(len(films), *shape)).astype(np.float32)
    for name, shape in (
      ("cls", (WIDTH,)),
      ("registers", (2, WIDTH)),
      ("patches", (3, 4, WIDTH)),
    )
  }
  return {**film_texts(films), **output.columns(**tokens)}, tokens


def _parts(output):
  refused = {"refused_file": np.array(["x"]), "refused_reason": np.array(["y"])}
  first, tokens = _part(output, 0, 3)
  second, others = _part(output, 3, 8)
  expected = {n: np.concatenate([x, others[n]]) for n, x in tokens.items()}
  return [first, refused, second], expected


def test_parquet_holds_a_row_per_film(tmp_path, monkeypatch):
  monkeypatch.setattr(outputs, "_ROWS_OF_A_GROUP", 2)
  parts, expected = _parts(ParquetOutput())
  path = tmp_path / "f.parquet"
  ParquetOutput().write(path, parts, IDENTITY)
  table = pq.read_table(path)
  ids = [f"folder/{i}.png" for i in range(8)]
  assert table["image_id"].to_pylist() == ids
  assert table["patient_id"].to_pylist()[:3] == ["p0", None, "p2"]
  assert table["split"].null_count == 8
  for name, values in (
    ("cls", expected["cls"]),
    ("patch_mean", expected["patches"].mean(axis=(1, 2))),
  ):
    stored = table[name].combine_chunks().flatten().to_numpy()
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored.reshape(8, WIDTH), values)
  assert json.loads(table.schema.metadata[b"scan42"]) == IDENTITY
  groups = pq.ParquetFile(path).metadata
  assert [groups.row_group(i).num_rows for i in range(4)] == [2, 2, 2, 2]
  assert ParquetOutput().read_identity(path) == IDENTITY


def test_parquet_does_not_depend_on_the_parts(tmp_path, monkeypatch):
  monkeypatch.setattr(outputs, "_ROWS_OF_A_GROUP", 4)
  (first, refused, second), _ = _parts(ParquetOutput())
  pieces = [
    {name: x[i : i + 1] for name, x in part.items()}
    for part in (first, second)
    for i in range(len(part["cls"]))
  ]
  whole = {n: np.concatenate([x, second[n]]) for n, x in first.items()}
  files = []
  for i, parts in enumerate(([first, refused, second], pieces, [whole])):
    path = tmp_path / f"{i}.parquet"
    ParquetOutput().write(path, parts, IDENTITY)
    files.append(path.read_bytes())
  assert files[0] == files[1] == files[2]


def test_array_record_holds_every_token(tmp_path):
  parts, expected = _parts(ArrayRecordOutput())
  path = tmp_path / "f.array_record"
  ArrayRecordOutput().write(path, parts, IDENTITY)
  source = array_record_data_source.ArrayRecordDataSource([str(path)])
  assert len(source) == 8
  for i in (0, 3, 7):
    with np.load(io.BytesIO(source[i]), allow_pickle=False) as record:
      assert str(record["image_id"]) == f"folder/{i}.png"
      assert str(record["patient_id"]) == ("" if i % 2 else f"p{i}")
      for name, values in expected.items():
        np.testing.assert_array_equal(record[name], values[i])
      assert json.loads(str(record["scan42"])) == IDENTITY
  assert ArrayRecordOutput().read_identity(path) == IDENTITY


def test_foreign_files_have_no_identity(tmp_path):
  for output in (ParquetOutput(), ArrayRecordOutput()):
    for i, content in enumerate((b"", b"hello" * 40)):
      path = tmp_path / f"{i}"
      path.write_bytes(content)
      assert output.read_identity(path) == {}


def test_the_ending_decides():
  assert isinstance(output_for(pathlib.Path("a.parquet")), ParquetOutput)
  grids = output_for(pathlib.Path("a.array_record"))
  assert isinstance(grids, ArrayRecordOutput)
  with pytest.raises(ValueError, match=r"a\.csv ends in neither \.parquet"):
    output_for(pathlib.Path("a.csv"))
