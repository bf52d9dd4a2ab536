"""Tables as they come: in another encoding, cut, ragged, one folder off."""

import gzip

import pytest

from scan42_jax.datasets import tables


def _read(path, required=("file",), **options):
  """Returns the rows of a table and what was told of it."""
  told = []
  rows = tables.read_table(
    path, required, on_fault=lambda *fault: told.append(fault), **options
  )
  return list(rows), told


@pytest.fixture
def path(tmp_path):
  return tmp_path / "labels.csv"


def test_rows_are_numbered_as_a_spreadsheet_shows_them(path):
  path.write_text("\ufefffile, edema\na.png,1\n", encoding="utf-8")
  assert _read(path) == ([(2, {"file": "a.png", "edema": "1"})], [])


def test_what_is_missing_stops(path, tmp_path):
  path.write_text("file,edema\na.png,1\n")
  with pytest.raises(ValueError, match="no column view; columns found: file,"):
    _read(path, ("view",))
  with pytest.raises(FileNotFoundError, match=r"absent\.csv"):
    _read(tmp_path / "absent.csv")
  path.write_text("file,file\na.png,b.png\n")
  with pytest.raises(ValueError, match="has column file twice"):
    _read(path)
  for data in (b"\x00\xff\xfe\n", "file\na\n".encode("utf-16")):
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is no text"):
      _read(path)


def test_ragged_rows_are_left_out_and_told(path):
  path.write_text("file,edema\na,1,2\nb\nc,0\n")
  rows, told = _read(path)
  assert [number for number, _ in rows] == [4]
  assert told == [
    ("labels.csv row 2", "has more cells than columns"),
    ("labels.csv row 3", "has fewer cells than columns"),
  ]


def test_nameless_columns_may_be_short(path):
  path.write_text("file,,\na\nb,x\n")
  rows, told = _read(path, optional=())
  assert [cells["file"] for _, cells in rows] == ["a", "b"] and not told


def test_foreign_columns_are_told_where_the_columns_are_known(path):
  path.write_text("file,edema,note\na,1,x\n")
  assert _read(path)[1] == _read(path, optional=("edema", "note"))[1] == []
  told = [("labels.csv", "has column note, which the release has not")]
  assert _read(path, optional=("edema",))[1] == told


def test_western_text_is_read_and_told(path):
  path.write_bytes("file,text\na,pulmón\nb,clear\nc,über\n".encode("cp1252"))
  rows, told = _read(path)
  assert [cells["text"] for _, cells in rows] == ["pulmón", "clear", "über"]
  assert told == [("labels.csv", "has 2 lines in CP-1252 instead of UTF-8")]


def _archive() -> tuple[bytes, list[str]]:
  lines = [f"{number:08d},{number * 7919 % 10007}\n" for number in range(9000)]
  return gzip.compress(("file,edema\n" + "".join(lines)).encode()), lines


def test_a_cut_archive_gives_what_it_holds(tmp_path):
  path, (whole, lines) = tmp_path / "labels.csv.gz", _archive()
  path.write_bytes(whole[: len(whole) // 2])
  rows, told = _read(path)
  assert 100 < len(rows) < 9000
  assert f"{rows[-1][1]['file']},{rows[-1][1]['edema']}\n" in lines
  ((place, reason),) = told
  assert place == path.name
  assert reason == f"is cut short after line {len(rows) + 1}; get it again"


def test_a_damaged_archive_stops(tmp_path):
  path, (whole, _) = tmp_path / "labels.csv.gz", _archive()
  damaged = bytearray(whole)
  damaged[len(whole) // 2] ^= 255
  path.write_bytes(damaged)
  with pytest.raises(ValueError, match="is damaged, get it again"):
    _read(path)


def test_what_is_no_archive_stops(tmp_path):
  path = tmp_path / "labels.csv.gz"
  path.write_text("file\na.png\n")
  with pytest.raises(ValueError, match=r"labels\.csv\.gz is damaged, get"):
    _read(path)


@pytest.mark.parametrize(
  ("text", "message"),
  [("file\na,b\n", "row 2 has more cells"), ("file\n\xe9\n", "CP-1252")],
)
def test_without_a_listener_faults_stop(path, text, message):
  path.write_bytes(text.encode("cp1252"))
  with pytest.raises(ValueError, match=message):
    list(tables.read_table(path, ("file",)))


def test_a_table_is_found_packed_or_not(tmp_path, path):
  path.touch()
  assert tables.find_table(tmp_path, "labels.csv") == path
  assert tables.find_table(tmp_path, "labels.csv.gz") == path
  assert tables.find_table(tmp_path, "new.csv", "labels.csv") == path
  assert tables.optional_table(tmp_path, "new.csv") is None


def test_a_table_that_is_elsewhere_is_told(tmp_path, path):
  path.touch()
  inside = tmp_path / "images"
  inside.mkdir()
  for number in range(9):
    (inside / f"{number}.png").touch()
  with pytest.raises(FileNotFoundError) as caught:
    tables.find_table(inside, "new.csv", "labels.csv")
  assert str(caught.value) == (
    f"new.csv or labels.csv is not in {inside}; found: 0.png, 1.png, 2.png, "
    f"3.png, 4.png, 5.png, ...; it is in {tmp_path}: give --source={tmp_path}"
  )
  with pytest.raises(FileNotFoundError, match="found: nothing"):
    (tmp_path / "empty").mkdir()
    tables.find_table(tmp_path / "empty", "x.csv")
  with pytest.raises(FileNotFoundError, match="absent is no folder"):
    tables.find_table(tmp_path / "absent", "x.csv")
