"""RSNA's pneumonia challenge in miniature: DICOM, boxes, classes."""

import json
import pathlib
import uuid

import numpy as np
from release_trees.files import pick, write_csv, write_dicom

CLASSES = ("Lung Opacity", "No Lung Opacity / Not Normal", "Normal")
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_COLUMNS = ["patientId", "x", "y", "width", "height", "Target"]


def make_tree(
  folder: pathlib.Path,
  *,
  seed: int,
  num_patients: int,
  test_labels: bool = False,
  mapping: bool = True,
) -> None:
  """Writes the tree.

  Args:
    folder: root of the release.
    seed: of everything.
    num_patients: of NIH, each with one to three exams; a tenth in the test set.
    test_labels: add stage_2_test_labels.csv, which others have made.
    mapping: add RSNA's mapping of exams to NIH's films.
  """
  rng = np.random.default_rng(seed)
  rows = {"train": [], "test": []}
  classes, entries = [], []
  for patient in range(1, num_patients + 1):
    part = "test" if patient % 10 == 0 else "train"
    for visit in range(int(rng.integers(1, 4))):
      # One exam of a patient of the test set is a film for training.
      home = "train" if patient == 10 and visit == 1 else part
      exam = str(uuid.UUID(bytes=rng.bytes(16)))
      name = pick(rng, dict(zip(CLASSES, (6, 12, 9), strict=True)))
      boxes = _boxes(rng, name)
      rows[home] += [[exam, *box, int(name == CLASSES[0])] for box in boxes]
      if home == "train":
        classes += [[exam, name]] * len(boxes)
      entries.append(_entry(rng, exam, patient, visit))
      write_dicom(
        folder / f"stage_2_{home}_images" / f"{exam}.dcm",
        rng,
        Modality="CR",
        PatientID=exam,
        PatientSex=str(rng.choice(["M", "F"])),
        PatientAge=str(rng.integers(5, 90)),  # Without its unit.
        ViewPosition=str(rng.choice(["PA", "AP"])),
        ConversionType="WSD",
      )
  write_csv(folder / "stage_2_train_labels.csv", _COLUMNS, rows["train"])
  if test_labels:
    write_csv(folder / "stage_2_test_labels.csv", _COLUMNS, rows["test"])
  columns = ["patientId", "class"]
  write_csv(folder / "stage_2_detailed_class_info.csv", columns, classes)
  if mapping:
    (folder / MAPPING).write_text(json.dumps(entries))


def _boxes(rng, name):
  if name != CLASSES[0]:
    return [[None] * 4]
  return rng.integers(50, 400, (int(rng.integers(1, 4)), 4)).astype(float)


def _entry(rng, exam, patient, visit):
  return {
    "subset_img_id": exam,
    "img_id": f"{patient:08d}_{visit:03d}.png",
    "orig_labels": ["No Finding"],
    "StudyInstanceUID": f"1.2.276.0.{rng.integers(10**9)}",
  }
