"""RSNA's pneumonia challenge in generated trees, and real films of it."""

import json
import pathlib

import film_trees
import numpy as np
import pandas as pd
import pydicom
import pytest
import release_frames
from release_trees import rsna_pneumonia as tree

from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import labels, rsna_pneumonia

TRAIN, TEST = "stage_2_train_labels.csv", "stage_2_test_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
EDGES = ["x", "y", "width", "height"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A tree that no test may change."""
  root = tmp_path_factory.mktemp("rsna")
  tree.make_tree(root, seed=0, num_patients=120)
  return root


@pytest.fixture
def small(tmp_path):
  """A smaller one of the test's own, with labels of the test set."""
  tree.make_tree(tmp_path / "raw", seed=1, num_patients=30, test_labels=True)
  return tmp_path / "raw"


def _patients(folder: pathlib.Path) -> dict[str, str]:
  path = folder / tree.MAPPING
  if not path.exists():
    return {}
  table = pd.DataFrame(json.loads(path.read_text()))
  numbers = table["img_id"].str[:8].astype(int).astype(str)
  return dict(zip(table["subset_img_id"], numbers, strict=True))


def _expected(folder: pathlib.Path, part: str = "train") -> pd.DataFrame:
  table = pd.read_csv(folder / f"stage_2_{part}_labels.csv")
  target = table.groupby("patientId")["Target"].max()
  patients = _patients(folder)
  names = pd.Series(target.index, index=target.index)
  fields = pd.DataFrame(
    {
      "file": f"stage_2_{part}_images/" + names + ".dcm",
      "patient_id": names.map(lambda name: patients.get(name, name)),
      "split": "test" if part == "test" else "",
      "view": "",
      "sex": "",
      "age_years": float("nan"),
      "Pneumonia": target,
    }
  )
  classes = pd.read_csv(folder / CLASSES).drop_duplicates()
  classes = classes.set_index("patientId")["class"]
  classes = pd.get_dummies(classes).astype(int).reindex(target.index)
  classes = classes.fillna(labels.MISSING).astype(int)
  return pd.concat([fields, classes], axis=1)


def _rows(folder: pathlib.Path):
  """The dataset's rows as a frame, without skipped ones, and these."""
  dataset = release_frames.build("rsna_pneumonia", folder)
  rows = list(dataset.rows())
  dataset.rows = lambda: iter([row for row in rows if not row.skip])
  skipped = {row.file: row.skip for row in rows if row.skip}
  return release_frames.frame(dataset), skipped


def test_rows(made):
  found, skipped = _rows(made)
  assert len(found) > 150 and 0 < found["Pneumonia"].mean() < 1
  assert (found["patient_id"].str.len() < 4).all()
  release_frames.assert_same(found, _expected(made))
  test = (made / "stage_2_test_images").iterdir()
  assert skipped == {
    f"stage_2_test_images/{path.name}": "test film without labels"
    for path in test
  }


def test_rows_without_mapping_and_classes(tmp_path):
  tree.make_tree(tmp_path, seed=2, num_patients=20, mapping=False)
  expected = _expected(tmp_path)
  (tmp_path / CLASSES).unlink()
  expected[list(tree.CLASSES)] = labels.MISSING
  found, _ = _rows(tmp_path)
  assert (found["patient_id"] == found.index).all()
  release_frames.assert_same(found, expected)


def test_rows_with_labels_of_the_test_set(small):
  found, skipped = _rows(small)
  train, test = (_expected(small, part) for part in ("train", "test"))
  held_out = train["patient_id"].isin(test["patient_id"])
  assert skipped == dict.fromkeys(
    train.loc[held_out, "file"], "patient of a test film"
  )
  assert len(skipped) == 1
  release_frames.assert_same(found, pd.concat([train[~held_out], test]))


def test_boxes(made):
  table = pd.read_csv(made / TRAIN)
  rows = [
    row
    for row in release_frames.build("rsna_pneumonia", made).rows()
    if not row.skip
  ]
  for row in rows:
    expected = table[table["patientId"] == row.image_id][EDGES].dropna()
    found = [(b.left, b.top, b.width, b.height) for b in row.boxes]
    np.testing.assert_allclose(np.reshape(found, (-1, 4)), expected / 1024)
    assert bool(row.boxes) == row.labels[0]
    assert {box.label for box in row.boxes} <= {0}
  assert max(len(row.boxes) for row in rows) > 1


@pytest.mark.parametrize("test_labels", [False, True])
def test_prepared(tmp_path, test_labels):
  source = tmp_path / "raw"
  tree.make_tree(source, seed=3, num_patients=60, test_labels=test_labels)
  manifest, _ = film_trees.prepare(
    source, tmp_path / "data", dataset="rsna_pneumonia", holdout_percent=20.0
  )
  table = _expected(source)
  films, skipped = manifest["films"], manifest["skipped"]
  assert min(films.values()) > 0 and not manifest["quarantined"]
  if test_labels:
    test = _expected(source, "test")
    assert films["test"] == len(test)
    assert skipped == {"patient of a test film": 1}
    table = pd.concat([table, test])
  else:
    assert list(skipped) == ["test film without labels"]
    assert sum(films.values()) == len(table)
  names = list(rsna_pneumonia.LABEL_NAMES)
  assert manifest["label_names"] == names
  patients = {}
  for split in films:
    for example in open_films(tmp_path / "data", "rsna_pneumonia", split):
      row = table.loc[example["image_id"]]
      assert example["labels"].tolist() == row[names].to_list()
      with pydicom.config.disable_value_validation():
        film = pydicom.dcmread(source / row["file"])
        assert example["view"] == film.ViewPosition
        assert example["sex"] == film.PatientSex
        assert example["age_years"] == int(film.PatientAge)
      assert patients.setdefault(example["patient_id"], split) == split


def test_faulty_rows_are_named(small):
  rows = pd.read_csv(small / TRAIN, dtype=str, keep_default_na=False)
  negative = rows[rows["Target"] == "0"]["patientId"].tolist()
  positive = rows[rows["Target"] == "1"].iloc[0].tolist()
  count = len(rows) + 1
  with (small / TRAIN).open("a") as stream:
    stream.write(f"{negative[0]},,,,,2\n")
    stream.write(f"{negative[1]},1.0,2.0,3.0,4.0,0\n")
    stream.write(f"{negative[2]},1.0,2.0,3.0,,1\n")
    stream.write(",".join(positive) + "\n")
    stream.write(f"{positive[0]},,,,,0\n")
  with (small / CLASSES).open("a") as stream:
    stream.write(f"{negative[3]},Lung Opacity\n{negative[4]},Flu\n")
  found = release_frames.faults(release_frames.build("rsna_pneumonia", small))
  number = len(pd.read_csv(small / CLASSES))
  films = [f"stage_2_train_images/{name}.dcm" for name in negative]
  assert found == {
    films[0]: f"{TRAIN} row {count + 1}: Target '2' is neither 0 nor 1",
    films[1]: f"{TRAIN} row {count + 2}: there is a box of 3.0 x 4.0 for "
    "Target 0",
    films[2]: f"{TRAIN} row {count + 3}: 1.0, 2.0, 3.0,  is no box",
    f"{TRAIN} row {count + 4}": f"{TRAIN} row {count + 4} repeats an earlier "
    "row",
    f"stage_2_train_images/{positive[0]}.dcm": found[
      f"stage_2_train_images/{positive[0]}.dcm"
    ],
    f"{CLASSES} row {number}": f"{CLASSES} row {number} gives {negative[3]} a "
    "second class",
    f"{CLASSES} row {number + 1}": f"{CLASSES} row {number + 1} has class "
    "'Flu'",
  }
  assert found[f"stage_2_train_images/{positive[0]}.dcm"].endswith(
    ": Target is 0 and 1"
  )


def test_films_and_rows_that_lack_each_other(small):
  films = sorted((small / "stage_2_test_images").iterdir())
  films[0].rename(small / "stage_2_test_images" / "other.dcm")
  dataset = release_frames.build("rsna_pneumonia", small)
  lost = next(row for row in dataset.rows() if row.image_id == films[0].stem)
  with pytest.raises(FileNotFoundError):
    dataset.fingerprint(lost)
  assert release_frames.faults(dataset) == {
    "stage_2_test_images/other.dcm": "no table lists this film"
  }


def test_what_is_missing_stops_in_one_line(small):
  inside = small / "stage_2_train_images"
  with pytest.raises(FileNotFoundError, match=f"give --source={small}$"):
    release_frames.frame(release_frames.build("rsna_pneumonia", inside))
  (small / tree.MAPPING).write_text('[{"subset_img_id": "a"}]')
  with pytest.raises(ValueError, match="is not RSNA's list of films with sub"):
    release_frames.frame(release_frames.build("rsna_pneumonia", small))
  (small / tree.MAPPING).unlink()
  path = small / TRAIN
  path.write_text(path.read_text().replace("Target", "label", 1))
  with pytest.raises(ValueError, match=r"has no column Target; columns found"):
    release_frames.frame(release_frames.build("rsna_pneumonia", small))


def test_golden_counts_of_real_films(real_data_dir, tmp_path):
  real = real_data_dir / "dicom" / "real"
  table = pd.read_csv(real / TRAIN)
  source = tmp_path / "raw"
  (source / "stage_2_train_images").mkdir(parents=True)
  (source / TRAIN).symlink_to(real / TRAIN)
  for name in set(table["patientId"]):
    film = source / "stage_2_train_images" / f"{name}.dcm"
    film.symlink_to(real / film.name)
  manifest, _ = film_trees.prepare(
    source, tmp_path, dataset="rsna_pneumonia", holdout_percent=0.0
  )
  exams = table.groupby("patientId")
  assert manifest["films"]["train"] == len(exams)
  assert not manifest["quarantined"] and not manifest["unknown_view"]
  for example in open_films(tmp_path, "rsna_pneumonia", "train"):
    rows = exams.get_group(example["image_id"])
    assert example["labels"][0] == rows["Target"].iloc[0]
    np.testing.assert_allclose(
      example["boxes"], rows[EDGES].dropna() / 1024, rtol=1e-6
    )
