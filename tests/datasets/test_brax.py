"""BRAX in generated trees of its layout, as PNG and as DICOM."""

import film_trees
import pandas as pd
import pytest
import release_frames
from release_trees import brax as tree
from release_trees.chexpert import LABELS

from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import labels

TABLE = "master_spreadsheet_update.csv"


@pytest.fixture
def made(tmp_path):
  """The release of 1.1.0."""
  tree.make_tree(tmp_path / "raw", seed=0, num_patients=80)
  return tmp_path / "raw"


def _expected(table: pd.DataFrame, column: str) -> pd.DataFrame:
  age = table["PatientAge"].astype(str).str.extract(r"(\d+)")[0]
  fields = pd.DataFrame(
    {
      "file": table[column],
      "patient_id": table["PatientID"],
      "split": "",
      "view": table["ViewPosition"].fillna(""),
      "sex": table["PatientSex"].fillna(""),
      "age_years": age.astype(float),
    }
  )
  values = table[LABELS].fillna(labels.NOT_MENTIONED).astype(int)
  ids = table["PngPath"].str.extract(r"images/(.+)\.png$")[0]
  return pd.concat([fields, values], axis=1).set_axis(ids)


def test_rows_of_png(made):
  found = release_frames.frame(release_frames.build("brax", made))
  table = pd.read_csv(made / TABLE, dtype={"PatientID": str})
  assert len(found) > 100 and (found["age_years"] == 85).any()
  release_frames.assert_same(found, _expected(table, "PngPath"))


def test_rows_of_dicom(tmp_path):
  tree.make_tree(tmp_path, seed=1, num_patients=30, dicom=True)
  found = release_frames.frame(release_frames.build("brax", tmp_path))
  table = pd.read_csv(
    tmp_path / "master_spreadsheet.csv", dtype={"PatientID": str}
  )
  there = table["DicomPath"].map(lambda file: (tmp_path / file).is_file())
  assert 0 < there.sum() < len(table)
  bare = table["DicomPath"].str.removesuffix(".dcm")
  table["DicomPath"] = table["DicomPath"].where(there, bare)
  release_frames.assert_same(found, _expected(table, "DicomPath"))


@pytest.mark.parametrize("dicom", [False, True])
def test_prepared(tmp_path, dicom):
  source = tmp_path / "raw"
  tree.make_tree(source, seed=2, num_patients=40, dicom=dicom)
  manifest, _ = film_trees.prepare(source, tmp_path / "data", dataset="brax")
  (name,) = source.glob("*.csv")
  table = _expected(pd.read_csv(name, dtype={"PatientID": str}), "PngPath")
  lateral = table["view"].isin(["L", "RL"])
  assert sum(manifest["films"].values()) == (~lateral).sum()
  assert manifest["skipped"] == {"lateral view": lateral.sum()}
  assert not manifest["quarantined"]
  patients = []
  for split, count in manifest["films"].items():
    films = open_films(tmp_path / "data", "brax", split) if count else ()
    patients += {example["patient_id"] for example in films}
    for example in films:
      row = table.loc[example["image_id"]]
      assert example["labels"].tolist() == row[LABELS].to_list()
      assert example["patient_id"] == row["patient_id"]
  assert len(patients) == len(set(patients))


def test_faults_are_named(made):
  path = made / TABLE
  lines = path.read_text().splitlines(keepends=True)
  lines[1] = lines[1].replace("images/", "/abs/", 1)
  cells = lines[2].split(",")
  lines[2] = ",".join([*cells[:5], "maybe", *cells[6:]])
  path.write_text("".join(lines))
  found = release_frames.faults(release_frames.build("brax", made))
  assert "is no path of BRAX" in found[f"{TABLE} row 2"]
  assert "'maybe' is not 1, 0, -1 or blank in column 'No Fi" in found[cells[1]]
  assert list(found.values()).count("no table lists this film") == 1


def test_what_is_missing_stops_in_one_line(made):
  with pytest.raises(
    FileNotFoundError,
    match=rf"{TABLE} or master_spreadsheet\.csv is not .* --source={made}$",
  ):
    release_frames.frame(release_frames.build("brax", made / "images"))
  text = (made / TABLE).read_text()
  (made / TABLE).write_text(text.replace("Pneumonia", "Lungs"))
  with pytest.raises(ValueError, match="has no column Pneumonia; columns f"):
    release_frames.frame(release_frames.build("brax", made))
