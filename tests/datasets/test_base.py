"""What all datasets share: ids, splits, views, contradictions."""

import dataclasses

import numpy as np
import pytest

from scan42_jax.datasets import base, labels, reading, views
from scan42_jax.datasets.folder import Folder
from scan42_jax.datasets.reading import Box, Options, Reading, Row


def _folder(tmp_path, **options) -> Folder:
  return Folder(Options(source=tmp_path, **options), data_dir=str(tmp_path))


@pytest.mark.parametrize(
  ("view", "reason"),
  [
    ("PA", ""),
    ("AP Supine", ""),
    ("AP_horizontal", ""),
    ("AP LLD", ""),
    ("", ""),
    (views.FRONTAL, ""),
    ("L", "lateral view"),
    ("XTABLE LATERAL", "lateral view"),
    ("LL", "lateral view"),
    ("lateral", "lateral view"),
    ("LAO", "oblique view"),
    ("SWIMMERS", "lateral view"),
    ("AP AXIAL", ""),
    ("COSTAL", "other view"),
    ("EXCLUDE", "other view"),
  ],
)
def test_views(view, reason):
  assert views.off_frontal(view) == reason


def test_split_shares_and_patients(tmp_path):
  dataset = _folder(tmp_path, holdout_percent=20.0)
  rows = [Row(file=f"{i}.png", patient_id=f"p{i // 2}") for i in range(2000)]
  splits = [dataset.split(row, Reading(file=row.file)) for row in rows]
  assert splits[::2] == splits[1::2]
  shares = {name: splits.count(name) / 2000 for name in base.SPLITS}
  assert shares["validation"] == pytest.approx(0.2, abs=0.04)
  assert shares["test"] == pytest.approx(0.2, abs=0.04)
  other = _folder(tmp_path, holdout_percent=20.0, split_seed=1)
  assert splits != [other.split(row, Reading(file=row.file)) for row in rows]


def test_no_holdout_leaves_all_to_training(tmp_path):
  dataset = _folder(tmp_path, holdout_percent=0.0)
  rows = [Row(file=f"{i}.png") for i in range(100)]
  splits = {dataset.split(row, Reading(file=row.file)) for row in rows}
  assert splits == {"train"}


@pytest.mark.parametrize(
  "wrong",
  [
    {"holdout_percent": 50.0},
    {"short_side_px": 0},
    {"max_broken_percent": 101.0},
  ],
)
def test_impossible_options_are_refused(tmp_path, wrong):
  with pytest.raises(ValueError, match=next(iter(wrong))):
    Options(source=tmp_path, **wrong)


def test_ids_of_people_are_hashed(tmp_path):
  row = Row(file="Doe^Jane/1.dcm", patient_id="Doe^Jane")
  found = Reading(file=row.file)
  image_id, patient_id = _folder(tmp_path).ids(row, found)
  assert "Doe" not in image_id + patient_id and image_id != patient_id
  salted = _folder(tmp_path, id_salt="secret").ids(row, found)
  assert not {image_id, patient_id} & set(salted)
  kept = _folder(tmp_path, keep_ids=True).ids(row, found)
  assert kept == ("Doe^Jane/1.dcm", "Doe^Jane")


def test_ids_of_table_and_header_agree(tmp_path):
  dataset = _folder(tmp_path)
  header = reading.stored_id("123", dataset.options)
  from_header = dataset.ids(Row(file="a"), Reading(file="a", patient_id=header))
  from_table = dataset.ids(Row(file="a", patient_id="123"), Reading(file="a"))
  assert from_header == from_table


def test_tables_go_before_headers(tmp_path):
  found = Reading(file="a", view="PA", sex="M", age_years=30.0, image=b"jpeg")
  row = Row(file="a", view="AP", age_years=31.0)
  example = _folder(tmp_path).example(row, found)
  assert (example["view"], example["sex"], example["age_years"]) == (
    "AP",
    "M",
    31.0,
  )


def test_texts_and_boxes_are_stored(tmp_path):
  row = Row(
    file="a",
    report="FINDINGS: x IMPRESSION: y",
    findings="x",
    impression="y",
    boxes=(Box(label=3, left=0.25, top=0.5, width=0.125, height=0.75),),
  )
  example = _folder(tmp_path).example(row, Reading(file="a"))
  assert [example[name] for name in base.TEXTS] == [row.report, "x", "y", ""]
  np.testing.assert_array_equal(example["boxes"], [[0.25, 0.5, 0.125, 0.75]])
  np.testing.assert_array_equal(example["box_labels"], [3])
  bare = _folder(tmp_path).example(Row(file="a"), Reading(file="a"))
  assert bare["boxes"].shape == (0, 4) and bare["box_labels"].shape == (0,)


def test_a_release_may_leave_only_validation_to_the_hash(tmp_path):
  class Listed(Folder):
    HASHED_SPLITS = ("validation",)

  options = Options(source=tmp_path, holdout_percent=30.0)
  dataset = Listed(options, data_dir=str(tmp_path))
  rows = [Row(file=f"{i}.png") for i in range(200)]
  splits = [dataset.split(row, Reading(file=row.file)) for row in rows]
  assert set(splits) == {"train", "validation"}
  assert 30 < splits.count("validation") < 90
  official = Row(file="x", split="test")
  assert dataset.split(official, Reading(file="x")) == "test"


def test_film_without_labels_has_them_missing(tmp_path):
  class Labelled(Folder):
    def label_names(self):
      return ("edema", "mass")

  dataset = Labelled(Options(source=tmp_path), data_dir=str(tmp_path))
  example = dataset.example(Row(file="a"), Reading(file="a"))
  np.testing.assert_array_equal(example["labels"], [labels.MISSING] * 2)


def test_fingerprint_follows_file_and_options(tmp_path):
  path = tmp_path / "a.png"
  path.write_bytes(b"1")
  row = Row(file="a.png")
  first = _folder(tmp_path).fingerprint(row)
  assert first == _folder(tmp_path, split_seed=5).fingerprint(row)
  others = [
    _folder(tmp_path, short_side_px=512).fingerprint(row),
    _folder(tmp_path, published=True).fingerprint(row),
    _folder(tmp_path, id_salt="s").fingerprint(row),
    _folder(tmp_path).fingerprint(dataclasses.replace(row, view="PA")),
  ]
  path.write_bytes(b"12")
  others.append(_folder(tmp_path).fingerprint(row))
  assert len({first, *others}) == len(others) + 1
