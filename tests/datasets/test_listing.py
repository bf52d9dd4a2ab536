"""Listing a release: faults, twins, films without a row."""

import film_trees
import pytest

from scan42_jax.datasets import labels, listing
from scan42_jax.datasets.reading import Options, Row


class Listed(listing.FilmList):
  """Films of one table, with the views of another."""

  def listed_rows(self):
    def parse(cells, where):
      if cells["id"] == "bad":
        raise ValueError("no id")
      return Row(file=f"films/{cells['id']}.png", where=where)

    source = self.options.source
    yield from self.parse_table(
      source / "t.csv",
      ("id",),
      parse,
      file_of=lambda cells: f"films/{cells['file']}",
    )
    self.views = self.keyed_table(
      source / "v.csv", ("id", "age"), lambda c: (c["id"], int(c["age"]))
    )

  def film_folders(self):
    return [self.options.source / "films"]


@pytest.fixture
def listed(tmp_path):
  (tmp_path / "t.csv").write_text("id,file\na,a.png\nbad,b.png\nc\na,a.png\n")
  (tmp_path / "v.csv").write_text("id,age\na,1\na,2\nb,old\n")
  for name in ("a", "b", "lost"):
    film_trees.write_film(tmp_path / f"films/{name}.png", seed=0)
  return Listed(Options(source=tmp_path))


def test_everything_wrong_is_listed_once(listed):
  rows = list(listed.rows())
  assert [(row.file, row.fault) for row in rows] == [
    ("films/a.png", ""),
    ("films/b.png", "t.csv row 3: no id"),
    (
      "films/a.png",
      "films/a.png is listed twice: t.csv row 2 and t.csv row 5",
    ),
    ("t.csv row 4", "t.csv row 4 has fewer cells than columns"),
    ("v.csv row 3", "v.csv row 3 lists a for the second time"),
    (
      "v.csv row 4",
      "v.csv row 4 cannot be used: invalid literal for int() with base 10: "
      "'old'",
    ),
    ("films/lost.png", "no table lists this film"),
  ]
  assert listed.views == {"a": 1}
  assert list(listed.rows()) == rows  # Nothing piles up.


def test_one_image_id_for_two_files_is_a_fault(listed):
  listed.listed_rows = lambda: [
    Row(file="films/a.png", image_id="1", where="row 2"),
    Row(file="films/b.png", image_id="1", where="row 3"),
  ]
  faults = [row.fault for row in listed.rows() if row.file == "films/b.png"]
  assert faults == ["1 is listed twice: row 2 and row 3"]


def test_labels_of_a_row_or_its_fault():
  row = Row(file="a", where="row 2")
  cells = {"Edema": "", "Mass": "-1.0"}
  assert listing.with_labels(row, cells, ("Mass", "Edema")).labels == (
    labels.UNCERTAIN,
    labels.NOT_MENTIONED,
  )
  faulty = listing.with_labels(row, {"Mass": "x"}, ("Mass",))
  assert faulty.fault == (
    "row 2: label 'x' is not 1, 0, -1 or blank in column 'Mass'"
  )


def test_several_rows_of_one_film(tmp_path):
  (tmp_path / "t.csv").write_text("id,age\na,1\nb,2\na,3\na,1\nb,old\nb,x\n")
  listed = Listed(Options(source=tmp_path))
  groups = listed.grouped_table(
    tmp_path / "t.csv", ("id", "age"), lambda cells: int(cells["age"])
  )
  assert groups["a"] == listing.Group("t.csv row 2", [1, 3])
  assert (groups["b"].where, groups["b"].values) == ("t.csv row 3", [2])
  assert groups["b"].fault.startswith("t.csv row 6: invalid literal")
  assert [row.fault for row in listed._table_faults] == [
    "t.csv row 5 repeats an earlier row"
  ]
