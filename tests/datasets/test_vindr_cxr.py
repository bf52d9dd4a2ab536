"""VinDr-CXR in generated trees of its layout."""

import pathlib

import film_trees
import numpy as np
import pandas as pd
import pydicom
import pytest
import release_frames
from release_trees import vindr_cxr as tree

from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import vindr_cxr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A tree that no test may change."""
  root = tmp_path_factory.mktemp("vindr")
  tree.make_tree(root, seed=0, num_patients=200)
  return root


@pytest.fixture
def small(tmp_path):
  """A smaller one of the test's own."""
  tree.make_tree(tmp_path / "raw", seed=1, num_patients=30)
  return tmp_path / "raw"


def _expected(folder: pathlib.Path, tables: str = "annotations"):
  parts = []
  for split in ("train", "test"):
    table = pd.read_csv(
      folder / tables.format(split=split) / f"image_labels_{split}.csv"
    )
    table = table.rename(columns={"Other disease": "Other diseases"})
    votes = table.groupby("image_id")[tree.LABELS]
    assert (votes.size() == (3 if split == "train" else 1)).all()
    labels = votes.agg(lambda column: column.mode().iloc[0])
    fields = pd.DataFrame(
      {
        "file": split + "/" + labels.index + ".dicom",
        "patient_id": "",
        "split": "" if split == "train" else "test",
        "view": "",
        "sex": "",
        "age_years": float("nan"),
      },
      index=labels.index,
    )
    parts.append(pd.concat([fields, labels], axis=1))
  return pd.concat(parts)


def test_rows(made):
  dataset = release_frames.build("vindr_cxr", made)
  assert list(dataset.label_names()) == tree.LABELS
  found = release_frames.frame(dataset)
  assert len(found) == 240 and found["Other diseases"].sum() > 10
  assert found.loc[found["split"] == "test", "Other diseases"].any()
  release_frames.assert_same(found, _expected(made))


@pytest.mark.parametrize("tables", [".", "{split}"])
def test_tables_beside_the_films(tmp_path, tables):
  tree.make_tree(tmp_path, seed=2, num_patients=20, tables=tables)
  found = release_frames.frame(release_frames.build("vindr_cxr", tmp_path))
  release_frames.assert_same(found, _expected(tmp_path, tables))


def test_boxes(made):
  rows = {r.image_id: r for r in release_frames.build("vindr_cxr", made).rows()}
  edges = ["x_min", "y_min", "x_max", "y_max"]
  names = np.array(vindr_cxr.LABEL_NAMES)
  for split in ("train", "test"):
    table = pd.read_csv(made / "annotations" / f"annotations_{split}.csv")
    table["class_name"] = table["class_name"].replace(
      "Other disease", "Other diseases"
    )
    table = table[table["class_name"] != "No finding"]
    for image_id in rows:
      if not rows[image_id].file.startswith(split):
        continue
      expected = table[table["image_id"] == image_id]
      film = pydicom.dcmread(made / rows[image_id].file)
      size = [film.Columns, film.Rows] * 2
      found = np.reshape(
        [
          (b.left, b.top, b.left + b.width, b.top + b.height)
          for b in rows[image_id].boxes
        ],
        (-1, 4),
      )
      np.testing.assert_allclose(found, expected[edges] / size)
      labels = names[[box.label for box in rows[image_id].boxes]]
      assert list(labels) == list(expected["class_name"])
  assert "Other diseases" in {
    names[box.label] for row in rows.values() for box in row.boxes
  }


def test_prepared(made, tmp_path):
  manifest, _ = film_trees.prepare(
    made, tmp_path, dataset="vindr_cxr", holdout_percent=20.0
  )
  table = _expected(made)
  films = manifest["films"]
  assert films["test"] == 40 and sum(films.values()) == 240
  assert films["validation"] > 10 and not manifest["quarantined"]
  boxes = 0
  for split in films:
    for example in open_films(tmp_path, "vindr_cxr", split):
      row = table.loc[example["image_id"]]
      assert example["labels"].tolist() == row[tree.LABELS].to_list()
      assert (row["split"] == "test") == (split == "test")
      film = pydicom.dcmread(made / row["file"])
      assert example["sex"] == {"M": "M", "F": "F"}.get(film.PatientSex, "")
      boxes += len(example["boxes"])
  assert boxes > 100


def _edit(path: pathlib.Path, old: str, new: str) -> None:
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new, 1))


def test_faulty_rows_are_named(small):
  path = small / "annotations" / "image_labels_train.csv"
  lines = path.read_text().splitlines()
  images = pd.read_csv(path)["image_id"]
  first, other = images[0], images[images != images[0]].iloc[0]
  # A value that is none, a row twice, a radiologist who disagrees with himself.
  cells = lines[1].split(",")
  path.write_text(
    "\n".join(
      [
        lines[0],
        ",".join([*cells[:2], "-1", *cells[3:]]),
        *lines[2:],
        lines[2],
        *(
          ",".join([*line.split(",")[:-1], str(1 - int(line[-1]))])
          for line in lines[1:]
          if line.startswith(other)
        ),
      ]
    )
    + "\n"
  )
  boxes = small / "annotations" / "annotations_test.csv"
  boxes.write_text(
    boxes.read_text() + "x,Flu,1,2,3,4\nx,Edema,9,2,3,4\nx,Edema,a,2,3,4\n"
  )
  (small / "test" / "lost.dicom").write_bytes(b"x")
  found = release_frames.faults(release_frames.build("vindr_cxr", small))
  rows = len(lines)
  last = len(boxes.read_text().splitlines())
  assert found == {
    f"train/{first}.dicom": "image_labels_train.csv row 2: a label is neither "
    "0 nor 1",
    f"train/{other}.dicom": found[f"train/{other}.dicom"],
    f"image_labels_train.csv row {rows + 1}": "image_labels_train.csv row "
    f"{rows + 1} repeats an earlier row",
    **{
      f"annotations_test.csv row {last - 2 + n}": f"annotations_test.csv row "
      f"{last - 2 + n} is no box: {why}"
      for n, why in enumerate(
        [
          "class_name 'Flu' is no label",
          "from 9, 2 to 3, 4",
          "could not convert string to float: 'a'",
        ]
      )
    },
    "test/lost.dicom": "no table lists this film",
  }
  assert found[f"train/{other}.dicom"].endswith(
    f": somebody labels {other} in two ways"
  )


def test_a_draw_of_two_radiologists_is_negative(small):
  path = small / "annotations" / "image_labels_train.csv"
  table = pd.read_csv(path)
  table = table.groupby("image_id").head(2)
  table.to_csv(path, index=False)
  found = release_frames.frame(release_frames.build("vindr_cxr", small))
  expected = table.groupby("image_id")[tree.LABELS].min()
  training = found.loc[expected.index, tree.LABELS]
  assert (training.to_numpy() == expected.to_numpy()).all()


def test_what_is_missing_stops_in_one_line(small):
  tables = small / "annotations"
  with pytest.raises(FileNotFoundError, match=f"give --source={small}$"):
    release_frames.frame(release_frames.build("vindr_cxr", tables))
  with pytest.raises(FileNotFoundError, match=f"give --source={small}$"):
    release_frames.frame(release_frames.build("vindr_cxr", small.parent))
  train = tables / "image_labels_train.csv"
  _edit(train, "Other diseases", "Others")
  found = release_frames.faults(release_frames.build("vindr_cxr", small))
  assert found["image_labels_train.csv"].endswith(
    "has column Others, which the release has not"
  )
  assert "there is no column Other diseases or Other disease" in str(found)
  _edit(train, "rad_id", "reader")
  with pytest.raises(ValueError, match=r"train\.csv has no column rad_id; col"):
    release_frames.frame(release_frames.build("vindr_cxr", small))
  train.unlink()
  with pytest.raises(FileNotFoundError, match=r"image_labels_train\.csv .* is"):
    release_frames.frame(release_frames.build("vindr_cxr", small))
