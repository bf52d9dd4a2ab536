"""PadChest in generated trees of its layout."""

import ast
import gzip
import pathlib

import film_trees
import numpy as np
import pandas as pd
import pytest
import release_frames
from release_trees import padchest as tree

from scan42_jax.data import images
from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import labels

TABLE = f"{tree.TABLE}.gz"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A tree that no test may change."""
  root = tmp_path_factory.mktemp("padchest")
  tree.make_tree(root, seed=0, num_patients=150)
  return root


@pytest.fixture
def small(tmp_path):
  """A smaller one of the test's own, its table plain."""
  tree.make_tree(tmp_path / "raw", seed=1, num_patients=20, gz=False)
  return tmp_path / "raw"


def _expected(folder: pathlib.Path, table: str) -> pd.DataFrame:
  table = pd.read_csv(folder / table, dtype={"PatientID": str})
  year = table["StudyDate_DICOM"] // 10000
  age = year - table["PatientBirth"]
  fields = pd.DataFrame(
    {
      "file": table["ImageDir"].astype(str) + "/" + table["ImageID"],
      "patient_id": table["PatientID"],
      "split": "",
      "view": table["Projection"],
      "sex": table["PatientSex_DICOM"].fillna(""),
      "age_years": age.where(age >= 0),
      "report": table["Report"].fillna(""),
    }
  )
  lists = table["Labels"].dropna().map(ast.literal_eval).explode().str.strip()
  found = pd.crosstab(lists.index, lists).clip(upper=1).drop(columns="")
  found = found.reindex(table.index).fillna(labels.MISSING).astype(int)
  return pd.concat([fields, found], axis=1).set_axis(table["ImageID"])


def test_rows(made):
  dataset = release_frames.build("padchest", made)
  rows = [row for row in dataset.rows() if not row.fault]
  values = pd.DataFrame(
    [row.labels for row in rows], columns=list(dataset.label_names())
  )
  fields = pd.DataFrame(
    [
      [getattr(row, name) for name in (*release_frames.FIELDS, "report")]
      for row in rows
    ],
    columns=[*release_frames.FIELDS, "report"],
  )
  found = pd.concat([fields, values], axis=1)
  found.index = pd.Index([row.image_id for row in rows])
  expected = _expected(made, TABLE)
  assert len(expected) > 250
  assert dataset.label_names() == tuple(sorted(tree.LABELS))
  release_frames.assert_same(
    found, expected.drop(index=list(tree.DAMAGED), errors="ignore")
  )
  assert (found[tree.LABELS[0]] == labels.MISSING).any()
  assert found["age_years"].isna().any() and (found["age_years"] < 10).any()


def test_damaged_films_are_known(made):
  dataset = release_frames.build("padchest", made)
  found = release_frames.faults(dataset)
  named = {pathlib.PurePosixPath(file).name for file in found}
  assert named == set(tree.DAMAGED)
  assert all("known to be damaged" in why for why in found.values())


def test_prepared(made, tmp_path):
  manifest, _ = film_trees.prepare(made, tmp_path, dataset="padchest")
  table = _expected(made, TABLE).drop(index=list(tree.DAMAGED))
  taken = table["view"].isin(["PA", "AP", "AP_horizontal"])
  assert sum(manifest["films"].values()) == taken.sum()
  assert manifest["skipped"] == {
    "lateral view": (table["view"] == "L").sum(),
    "other view": table["view"].isin(["COSTAL", "EXCLUDE"]).sum(),
  }
  assert manifest["quarantined"] == len(tree.DAMAGED)
  names = manifest["label_names"]
  patients = {}
  for split in manifest["films"]:
    films = open_films(tmp_path, "padchest", split)
    patients[split] = {example["patient_id"] for example in films}
    for example in films:
      row = table.loc[example["image_id"]]
      assert example["labels"].tolist() == row[names].to_list()
      assert (example["report"], example["view"]) == (row.report, row.view)
  assert len(set.union(*patients.values())) == sum(map(len, patients.values()))


def test_sixteen_bits_are_scaled_and_not_clipped(made, tmp_path):
  film_trees.prepare(made, tmp_path, dataset="padchest", holdout_percent=0.0)
  example = open_films(tmp_path, "padchest", "train")[0]
  pixels = images.decode_film(example["image"])
  (stored,) = made.rglob(example["image_id"])
  values = images.read_film(stored).pixels
  assert values.min() == 0 and values.max() == 255
  assert np.abs(pixels.astype(int) - values).mean() < 3
  assert (values == 255).mean() < 0.1


def test_faulty_rows_are_named(small):
  path = small / tree.TABLE
  lines = path.read_text().splitlines(keepends=True)
  cells = lines[1].split(",")
  lines[1] = ",".join([*cells[:2], "seven", *cells[3:]])
  start = lines[2].index('"[') if '"[' in lines[2] else lines[2].index("[")
  lines[2] = lines[2][:start] + lines[2][start:].replace("]", "", 1)
  path.write_text("".join([*lines, lines[5]]))
  image, folder = lines[2].split(",")[1:3]
  place = f"{folder}/{image}"
  found = release_frames.faults(release_frames.build("padchest", small))
  assert "ImageDir 'seven' is no whole" in found[f"{tree.TABLE} row 2"]
  assert "is no list of labels" in found[place]
  twins = [why for why in found.values() if "listed twice" in why]
  assert len(twins) == 1 and f"row {len(lines) + 1}" in twins[0]


def test_a_table_in_another_encoding_is_read_and_told(small):
  path = small / tree.TABLE
  text = path.read_text().replace("sin hallazg patolog", "opacidad pulmón", 2)
  path.write_bytes(text.encode("cp1252"))
  dataset = release_frames.build("padchest", small)
  told = [row for row in dataset.rows() if "CP-1252" in row.fault]
  assert [row.file for row in told] == [tree.TABLE]
  assert "has 2 lines in CP-1252 instead of UTF-8" in told[0].fault
  reports = [row.report for row in dataset.rows()]
  assert sum("opacidad pulmón" in report for report in reports) == 2


def test_a_table_cut_short_is_read_so_far_and_told(made, tmp_path):
  whole = (made / TABLE).read_bytes()
  text = gzip.decompress(whole).decode().splitlines()
  for folder in made.iterdir():
    if folder.is_dir():
      (tmp_path / folder.name).symlink_to(folder)
  (tmp_path / TABLE).write_bytes(whole[: len(whole) * 2 // 3])
  rows = list(release_frames.build("padchest", tmp_path).rows())
  listed = [row for row in rows if not row.fault]
  assert 0 < len(listed) < len(text) - 1
  (told,) = [row for row in rows if row.file == TABLE]
  assert f"{TABLE} is cut short after line " in told.fault
  orphans = [row for row in rows if row.fault == "no table lists this film"]
  assert len(orphans) > 20
