"""Any tree of films, with and without a table."""

import film_trees
import numpy as np
import pytest
from PIL import Image

from scan42_jax.data import images
from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import film_files, labels
from scan42_jax.datasets.folder import Folder
from scan42_jax.datasets.reading import Options


def _rows(source, **options):
  dataset = Folder(Options(source=source, **options), data_dir=str(source))
  return list(dataset.rows())


def test_films_of_a_tree(tmp_path):
  taken = ["a/1.2.840.10008.5", "a/IM0001", "a/film.DCM", "b.jpeg", "c.png"]
  for name in [*taken, ".hidden.png", "a/DICOMDIR", "notes.txt", "t.csv"]:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
  (tmp_path / "a" / "loop").symlink_to(tmp_path)
  assert sorted(film_files.find_films(tmp_path)) == taken


def test_excluded_files(tmp_path):
  for name in ("a/film.png", "masks/film.png"):
    film_trees.write_film(tmp_path / name, seed=0)
  rows = _rows(tmp_path, exclude=("masks/*", "*.jpg"))
  assert [row.file for row in rows] == ["a/film.png"]


def test_table_is_read(tmp_path):
  table = film_trees.write_table(
    tmp_path / "labels.csv",
    [
      {
        "file": "a.png",
        "patient_id": "p1",
        "split": "val",
        "view": "pa",
        "sex": "female",
        "age": "61",
        "report": "Clear lungs,\nno effusion.",
        "findings": "Clear lungs.",
        "indication": "Cough.",
        "edema": "1.0",
        "mass": "-1",
        "mask_heart": "masks/a.png",
      },
      {"file": "b.png", "edema": "", "mass": "0"},
    ],
  )
  first, second = _rows(tmp_path, labels_csv=table)
  assert (first.patient_id, first.split, first.view) == (
    "p1",
    "validation",
    "PA",
  )
  assert (first.sex, first.age_years) == ("F", 61.0)
  assert first.report == "Clear lungs,\nno effusion."
  assert (first.findings, first.impression, first.indication) == (
    "Clear lungs.",
    "",
    "Cough.",
  )
  assert first.labels == (labels.POSITIVE, labels.UNCERTAIN)
  assert first.masks == {"heart": "masks/a.png"}
  assert second.labels == (labels.MISSING, labels.NEGATIVE)
  assert second.where == "labels.csv row 3" and np.isnan(second.age_years)


@pytest.mark.parametrize(
  ("cells", "message"),
  [
    ({"image": "a.png"}, "no column file; columns found: image"),
    ({"file": "/etc/passwd"}, "row 2: file '/etc/passwd' is no path"),
    ({"file": "../a.png"}, "is no path under source"),
    ({"file": ""}, "is no path under source"),
    ({"file": "a.png", "split": "dev"}, "row 2: split 'dev' is not in"),
    ({"file": "a.png", "sex": "x"}, "sex 'x' is not in"),
    ({"file": "a.png", "age": "old"}, "row 2: .*'old'"),
    ({"file": "a.png", "note": "bad"}, "'bad' is not .* column 'note'; drop"),
  ],
)
def test_faulty_tables_stop_in_one_line(tmp_path, cells, message):
  table = film_trees.write_table(tmp_path / "labels.csv", [cells])
  with pytest.raises(ValueError, match=message) as caught:
    _rows(tmp_path, labels_csv=table)
  assert "\n" not in str(caught.value)


def test_empty_table_stops(tmp_path):
  (tmp_path / "labels.csv").write_text("file\n")
  with pytest.raises(ValueError, match="has no rows"):
    _rows(tmp_path, labels_csv=tmp_path / "labels.csv")


def test_masks_and_reports_reach_the_shards(tmp_path):
  film_trees.write_film(tmp_path / "raw/a.png", seed=1, height=64, width=48)
  mask = np.zeros((64, 48), np.uint8)
  mask[10:30, 5:20] = 255
  Image.fromarray(mask).save(tmp_path / "raw/heart.png")
  film_trees.write_film(tmp_path / "raw/b.png", seed=2)
  Image.fromarray(mask[:10]).save(tmp_path / "raw/small.png")
  row = {"file": "a.png", "report": "Ünremarkable.", "mask_heart": "heart.png"}
  wrong = {"file": "b.png", "report": "", "mask_heart": "small.png"}
  table = film_trees.write_table(tmp_path / "labels.csv", [row, wrong])
  manifest, _ = film_trees.prepare(
    tmp_path / "raw",
    tmp_path / "data",
    labels_csv=table,
    short_side_px=24,
    holdout_percent=0.0,
  )
  assert manifest["quarantined"] == 1
  (example,) = open_films(tmp_path / "data", "folder", "train")
  assert example["report"] == "Ünremarkable."
  assert images.decode_film(example["image"]).shape == (32, 24)
  np.testing.assert_array_equal(
    images.decode_film(example["masks"]["heart"]), mask
  )
  assert example["masks"]["left_lung"] == b""
