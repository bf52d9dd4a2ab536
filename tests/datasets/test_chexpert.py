"""CheXpert in miniature trees of its releases' own layouts."""

import film_trees
import numpy as np
import pytest

from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import chexpert, labels
from scan42_jax.datasets.chexpert import Chexpert
from scan42_jax.datasets.reading import Options

TRAIN = [  # path, sex, age, side, projection
  ("train/patient00001/study1/view1_frontal.jpg", "Female", 68, "AP"),
  ("train/patient00002/study2/view1_frontal.jpg", "Female", 87, "PA"),
  ("train/patient00002/study2/view2_lateral.jpg", "Female", 87, ""),
  ("train/patient00003/study1/view1_frontal.jpg", "Male", 0, "LL"),
  ("train/patient00004/study1/view1_frontal.jpg", "Unknown", 41, "RL"),
]
VALID = [("valid/patient64541/study1/view1_frontal.jpg", "Male", 73, "AP")]
TEST = [
  "test/patient64741/study1/view1_frontal.jpg",
  "test/patient64741/study1/view2_lateral.jpg",
]


def _table_row(root, path, sex, age, projection, values):
  return {
    "Path": f"{root}/{path}",
    "Sex": sex,
    "Age": age,
    "Frontal/Lateral": "Lateral" if "lateral" in path else "Frontal",
    "AP/PA": projection,
    **dict(zip(chexpert.LABEL_NAMES, values, strict=True)),
  }


def _write_tables(folder, root):
  marks = ["1.0", "0.0", "-1.0", "", *[""] * 10]
  film_trees.write_table(
    folder / "train.csv", [_table_row(root, *row, marks) for row in TRAIN]
  )
  film_trees.write_table(
    folder / "valid.csv",
    [_table_row(root, *row, ["0.0"] * 13 + ["1.0"]) for row in VALID],
  )


def _write_test(folder, films):
  names = sorted(chexpert.LABEL_NAMES)  # Another order than in train.csv.
  film_trees.write_table(
    folder / "test_labels.csv",
    [
      {"Path": path, **{name: int(name == "Edema") for name in names}}
      for path in TEST
    ],
  )
  for i, path in enumerate(TEST):
    film_trees.write_film(films / path, seed=100 + i)


@pytest.fixture
def small(tmp_path):
  """CheXpert-v1.0-small with the test set beside its folders."""
  root = tmp_path / "raw" / "CheXpert-v1.0-small"
  for i, (path, *_) in enumerate(TRAIN + VALID):
    film_trees.write_film(root / path, seed=i)
  _write_tables(root, "CheXpert-v1.0-small")
  _write_test(root, root)
  return root


@pytest.fixture
def full(tmp_path):
  """CheXpert-v1.0 as it is downloaded: in batches."""
  source = tmp_path / "download"
  batches = {"train/": "batch 2 (train 1)/", "valid/": "batch 1 (validate)/"}
  for i, (path, *_) in enumerate(TRAIN + VALID):
    for prefix, batch in batches.items():
      if path.startswith(prefix):
        inner = path if prefix == "valid/" else path.removeprefix(prefix)
        film_trees.write_film(source / f"CheXpert-v1.0 {batch}" / inner, seed=i)
  _write_tables(source / "CheXpert-v1.0 batch 1 (validate)", "CheXpert-v1.0")
  return source


def _rows(source):
  dataset = Chexpert(Options(source=source), data_dir=str(source / "data"))
  return {row.image_id: row for row in dataset.rows()}


@pytest.mark.parametrize("above", [False, True])
def test_rows_of_the_small_release(small, above):
  source = small.parent if above else small
  rows = _rows(source)
  assert set(rows) == {path for path, *_ in TRAIN + VALID} | set(TEST)
  assert all((source / row.file).is_file() for row in rows.values())
  first = rows[TRAIN[0][0]]
  assert (first.patient_id, first.split, first.view, first.sex) == (
    "patient00001",
    "train",
    "AP",
    "F",
  )
  assert first.age_years == 68 and first.where == "train.csv row 2"
  assert first.labels[:4] == (1, 0, labels.UNCERTAIN, labels.NOT_MENTIONED)
  assert rows[VALID[0][0]].split == "validation"


def test_quirks_of_the_release(small):
  rows = _rows(small)
  assert rows[TRAIN[2][0]].view == "LATERAL"
  left, right = rows[TRAIN[3][0]], rows[TRAIN[4][0]]
  assert left.view == right.view == "FRONTAL"
  assert np.isnan(left.age_years) and right.sex == ""


def test_test_set_is_read_by_column_names_and_file_names(small):
  rows = _rows(small)
  frontal, lateral = (rows[path] for path in TEST)
  assert (frontal.split, frontal.view, lateral.view) == (
    "test",
    "FRONTAL",
    "LATERAL",
  )
  positive = [
    name
    for name, value in zip(chexpert.LABEL_NAMES, frontal.labels, strict=True)
    if value
  ]
  assert positive == ["Edema"] and frontal.sex == ""


def test_batches_of_the_full_release(full):
  rows = _rows(full)
  assert set(rows) == {path for path, *_ in TRAIN + VALID}
  assert all((full / row.file).is_file() for row in rows.values())


def test_prepared(small, tmp_path):
  (small / TRAIN[1][0]).unlink()
  manifest, _ = film_trees.prepare(small, tmp_path / "data", dataset="chexpert")
  assert manifest["films"] == {"train": 3, "validation": 1, "test": 1}
  assert manifest["skipped"] == {"lateral view": 2}
  (broken,) = film_trees.read_csv(
    tmp_path / "data/chexpert/1.1.0/quarantine.csv"
  )
  assert "train.csv row 3: No such file" in broken["reason"]
  train = open_films(tmp_path / "data", "chexpert", "train")
  assert train.label_names == chexpert.LABEL_NAMES and not train.equalized
  by_id = {example["image_id"]: example for example in train}
  example = by_id["train/patient00001/study1/view1_frontal.jpg"]
  assert example["patient_id"] == "patient00001"
  np.testing.assert_array_equal(example["labels"][:4], [1, 0, -1, -2])


def test_all_views_can_be_kept(small, tmp_path):
  manifest, _ = film_trees.prepare(
    small, tmp_path, dataset="chexpert", all_views=True
  )
  assert manifest["films"] == {"train": 5, "validation": 1, "test": 2}


def test_faults_stop_in_one_line(small, tmp_path):
  with pytest.raises(FileNotFoundError, match=r"none of train\.csv"):
    _rows(tmp_path / "raw" / "empty")
  film_trees.write_table(small / "valid.csv", [{"Path": "a", "Sex": "Male"}])
  with pytest.raises(
    ValueError, match=r"valid\.csv has no column Age, .*found"
  ):
    _rows(small)
  row = _table_row("x", "train/001.jpg", "Male", 1, "AP", [""] * 14)
  film_trees.write_table(small / "train.csv", [row])
  with pytest.raises(ValueError, match=r"train\.csv row 2: 'x/train/001.jpg'"):
    _rows(small)
  film_trees.write_table(small.parent / "CheXpert-v1.0/train.csv", [row])
  with pytest.raises(ValueError, match="two releases in one source"):
    _rows(small.parent)
