"""CheXpert in miniature trees of its releases' own layouts."""

import pathlib

import film_trees
import numpy as np
import pandas as pd
import pytest
import release_frames
from release_trees import chexpert as tree

from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import chexpert, labels

ROOT = "CheXpert-v1.0-small"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """The small release, which no test may change."""
  root = tmp_path_factory.mktemp("raw") / ROOT
  tree.make_tree(root, seed=0, num_patients=120)
  return root


@pytest.fixture
def small(tmp_path):
  """A smaller one of the test's own."""
  root = tmp_path / "raw" / ROOT
  tree.make_tree(root, seed=1, num_patients=12)
  return root


def _expected(folder: pathlib.Path, test_folder: pathlib.Path) -> pd.DataFrame:
  """What the tables say, by pandas alone."""
  named = {"train": "train.csv", "validation": "valid.csv"}
  frames = [
    pd.read_csv(folder / name).assign(split=split)
    for split, name in named.items()
  ]
  test = pd.read_csv(test_folder / "test_labels.csv").assign(split="test")
  test["Path"] = "prefix/" + test["Path"]
  table = pd.concat([*frames, test], ignore_index=True)
  ids = table["Path"].str.split("/", n=1).str[1]
  lateral = table["Path"].str.contains("lateral")
  known = table["AP/PA"].isin(["AP", "PA"])
  fields = pd.DataFrame(
    {
      "patient_id": ids.str.extract(r"(patient\d{5})")[0],
      "split": table["split"],
      "view": np.select(
        [lateral, known], ["LATERAL", table["AP/PA"]], "FRONTAL"
      ),
      "sex": table["Sex"].map({"Male": "M", "Female": "F"}).fillna(""),
      "age_years": table["Age"].where(table["Age"] > 0),
    }
  )
  values = table[tree.LABELS].fillna(labels.NOT_MENTIONED).astype(int)
  return pd.concat([fields, values], axis=1).set_axis(ids)


def test_rows_of_the_small_release(made):
  found = release_frames.frame(release_frames.build("chexpert", made))
  expected = _expected(made, made)
  assert len(found) > 400 and set(found["view"]) >= {"AP", "PA", "FRONTAL"}
  release_frames.assert_same(found, expected.assign(file=expected.index))


def test_the_folder_above_will_do(made):
  found = release_frames.frame(release_frames.build("chexpert", made.parent))
  expected = _expected(made, made)
  release_frames.assert_same(
    found, expected.assign(file=f"{ROOT}/" + expected.index)
  )


def test_batches_of_the_full_release(tmp_path):
  tree.make_tree(tmp_path, seed=2, num_patients=40, batches=True)
  found = release_frames.frame(release_frames.build("chexpert", tmp_path))
  assert all((tmp_path / file).is_file() for file in found["file"])
  for image_id, file in found["file"].items():
    assert file.endswith(image_id.partition("/")[2])
  tables = tmp_path / "CheXpert-v1.0 batch 1 (validate & csv)"
  expected = _expected(tables, tmp_path)
  release_frames.assert_same(found.drop(columns="file"), expected)


def test_prepared(small, tmp_path):
  table = pd.read_csv(small / "train.csv")
  frontal = table[table["Frontal/Lateral"] == "Frontal"]
  lost = frontal["Path"].iloc[3].split("/", 1)[1]
  (small / lost).unlink()
  manifest, _ = film_trees.prepare(small, tmp_path / "data", dataset="chexpert")
  assert manifest["films"]["train"] == len(frontal) - 1
  valid = pd.read_csv(small / "valid.csv")["Path"]
  assert manifest["films"]["validation"] == valid.str.contains("front").sum()
  test = pd.read_csv(small / "test_labels.csv")["Path"]
  assert manifest["films"]["test"] == test.str.contains("frontal").sum()
  laterals = (len(table) + len(valid) + len(test)) - (
    sum(manifest["films"].values()) + 1
  )
  assert manifest["skipped"] == {"lateral view": laterals}
  (quarantine,) = (tmp_path / "data/chexpert").glob("*/quarantine.csv")
  (broken,) = film_trees.read_csv(quarantine)
  row = frontal.index[3] + 2
  assert broken["file"] == lost
  assert f"train.csv row {row}: No such file" in broken["reason"]
  train = open_films(tmp_path / "data", "chexpert", "train")
  assert train.label_names == chexpert.LABEL_NAMES and not train.equalized
  for example in train:
    (row,) = table[table["Path"].str.endswith(example["image_id"])].index
    wanted = table.loc[row, tree.LABELS].fillna(-2).to_numpy(int)
    np.testing.assert_array_equal(example["labels"], wanted)
    assert example["patient_id"] in table.loc[row, "Path"]


def test_all_views_can_be_kept(small, tmp_path):
  manifest, _ = film_trees.prepare(
    small, tmp_path, dataset="chexpert", all_views=True
  )
  names = ("train.csv", "valid.csv", "test_labels.csv")
  assert list(manifest["films"].values()) == [
    len(pd.read_csv(small / name)) for name in names
  ]


def _edit(path: pathlib.Path, line: int, old: str, new: str) -> None:
  lines = path.read_text().splitlines(keepends=True)
  assert old in lines[line - 1]
  lines[line - 1] = lines[line - 1].replace(old, new, 1)
  path.write_text("".join(lines))


def test_faulty_rows_are_named(small):
  table = small / "train.csv"
  paths = pd.read_csv(table)["Path"].str.split("/", n=1).str[1]
  _edit(table, 2, "train/", "train/x/")
  _edit(table, 3, "train/", "valid/")
  _edit(table, 4, "Frontal", "Frontal,")
  _edit(table, 5, "\n", "yes\n")
  lines = table.read_text().splitlines(keepends=True)
  table.write_text("".join([*lines, lines[5]]))
  found = release_frames.faults(release_frames.build("chexpert", small))
  assert "train.csv row 2: " in found["train.csv row 2"]
  assert "is no path of CheXpert's train films" in found["train.csv row 3"]
  assert found["train.csv row 4"].endswith("has more cells than columns")
  assert "is not 1, 0, -1 or blank in column 'Support D" in found[paths[3]]
  twin = f"train.csv row 6 and train.csv row {len(lines) + 1}"
  assert found[paths[4]] == f"{paths[4]} is listed twice: {twin}"
  unlisted = {file for file, why in found.items() if "no table lists" in why}
  assert unlisted == set(paths[:3])


def test_columns_that_the_release_has_not_are_named(small):
  table = small / "valid.csv"
  lines = table.read_text().splitlines()
  table.write_text(
    "\n".join([lines[0] + ",Note", *(f"{x},y" for x in lines[1:])])
  )
  found = release_frames.faults(release_frames.build("chexpert", small))
  assert found == {
    "valid.csv": "valid.csv has column Note, which the release has not"
  }


def test_films_without_a_row_are_named(small):
  lost = "train/patient00001/study9/view1_frontal.jpg"
  film_trees.write_film(small / lost, seed=0)
  found = release_frames.faults(release_frames.build("chexpert", small))
  assert found == {lost: "no table lists this film"}


@pytest.mark.parametrize("place", ["raw", "raw/release/train"])
def test_a_source_one_level_off_is_told(tmp_path, place):
  release = tmp_path / "raw" / "release"
  tree.make_tree(release, seed=1, num_patients=3)
  with pytest.raises(FileNotFoundError, match="found: ") as caught:
    release_frames.frame(release_frames.build("chexpert", tmp_path / place))
  message = str(caught.value)
  assert message.startswith("train.csv or valid.csv or test_labels.csv is not")
  assert message.endswith(f"give --source={release}") and "\n" not in message


def test_what_is_missing_stops_in_one_line(small):
  film_trees.write_table(small / "valid.csv", [{"Path": "a", "Sex": "Male"}])
  with pytest.raises(
    ValueError, match=r"valid\.csv has no column Age, .*found"
  ):
    release_frames.frame(release_frames.build("chexpert", small))
  film_trees.write_table(small.parent / "CheXpert-v1.0/train.csv", [{"a": 1}])
  with pytest.raises(ValueError, match="two releases in one source"):
    release_frames.frame(release_frames.build("chexpert", small.parent))
