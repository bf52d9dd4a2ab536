"""`rsna_pneumonia`: the RSNA Pneumonia Detection Challenge of 2018, stage 2."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator

from scan42_jax.datasets import base, film_files, labels, tables
from scan42_jax.datasets.reading import Box, Options, Row

_CLASSES = ("Lung Opacity", "No Lung Opacity / Not Normal", "Normal")
LABEL_NAMES = ("Pneumonia", *_CLASSES)

_TRAIN, _TEST = "stage_2_train", "stage_2_test"
_CLASS_TABLE = "stage_2_detailed_class_info.csv"
_MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_EDGES = ("x", "y", "width", "height")
_BOX_UNIT_PX = 1024
"""Every film of the challenge has this size."""


class RsnaPneumonia(base.FilmDataset):
  """RSNA Pneumonia Detection Challenge, stage 2: films of NIH ChestX-ray14.

  The source is the folder with stage_2_train_labels.csv, stage_2_train_images
  and stage_2_test_images. `Pneumonia` is the column Target; the classes of
  stage_2_detailed_class_info.csv, where it is there, are labels, too. With
  RSNA's mapping to NIH's films a patient is NIH's, else every exam is one. If
  stage_2_test_labels.csv is there (same columns; it is no part of the release)
  the films of the test set are the test split; else they have no labels and are
  left out, and test is drawn from training by patient. Validation always is.
  Shih et al., Radiology: AI 2019, https://doi.org/10.1148/ryai.2019180041
  """

  def __init__(self, options: Options, *, data_dir: str):
    self._test_table = tables.optional_table(
      options.source, f"{_TEST}_labels.csv"
    )
    if self._test_table:
      self.HASHED_SPLITS = ("validation",)
    super().__init__(options, data_dir=data_dir)

  def label_names(self) -> tuple[str, ...]:
    """Pneumonia, then the three classes, of which Target 0 has two."""
    return LABEL_NAMES

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of the tables, and test films without labels."""
    table = tables.find_table(self.options.source, f"{_TRAIN}_labels.csv")
    classes, patients = self._classes(), self._patients()
    test = list(self._exams(self._test_table, classes, patients))
    held_out = {row.patient_id for row in test}
    for row in self._exams(table, classes, patients):
      twin = row.patient_id in held_out
      yield dataclasses.replace(row, skip="patient of a test film" * twin)
    yield from test
    if not self._test_table:
      yield from self._unlabelled()

  def film_folders(self) -> Iterable[pathlib.Path]:
    """The folders of training and test films, as far as they are there."""
    folders = (self.options.source / f"{p}_images" for p in (_TRAIN, _TEST))
    return [folder for folder in folders if folder.is_dir()]

  def _exams(self, path, classes, patients) -> Iterator[Row]:
    """Lists the exams of one table, which has a row for each box."""
    if path is None:
      return
    columns = ("patientId", *_EDGES, "Target")
    part = path.name.partition("_labels")[0]
    rows = self.grouped_table(path, columns, _target_and_box, optional=())
    for exam, group in rows.items():
      targets = {target for target, _ in group.values}
      fault = "" if len(targets) < 2 else f"{group.where}: Target is 0 and 1"
      yield Row(
        file=f"{part}_images/{exam}.dcm",
        image_id=exam,
        patient_id=patients.get(exam, exam),
        split="test" if part == _TEST else "",
        labels=(max(targets, default=0), *_class_labels(classes.get(exam))),
        boxes=tuple(box for _, box in group.values if box),
        where=group.where,
        fault=group.fault or fault,
      )

  def patients_of(self) -> str:
    """NIH's, where RSNA's mapping is there."""
    mapped = (self.options.source / _MAPPING).is_file()
    return "nih_cxr8" if mapped else super().patients_of()

  def _unlabelled(self) -> Iterator[Row]:
    """Lists the films of the test set."""
    folder = self.options.source / f"{_TEST}_images"
    for name in film_files.find_films(folder):
      file = f"{folder.name}/{name}"
      yield Row(file=file, where=file, skip="test film without labels")

  def _classes(self) -> dict[str, str]:
    """Maps exams to their classes; empty where the table is absent."""
    path = tables.optional_table(self.options.source, _CLASS_TABLE)
    columns = ("patientId", "class")
    rows = self.table_cells(path, columns, optional=()) if path else ()
    classes: dict[str, str] = {}
    for number, cells in rows:  # One for each box, as in the table of labels.
      place = f"{path.name} row {number}"
      exam, name = cells["patientId"], cells["class"]
      if name not in _CLASSES:
        self.add_fault(place, f"has class {name!r}")
      elif classes.setdefault(exam, name) != name:
        self.add_fault(place, f"gives {exam} a second class")
    return classes

  def _patients(self) -> dict[str, str]:
    """Maps exams to NIH's patients; empty where RSNA's mapping is absent."""
    path = self.options.source / _MAPPING
    if not path.is_file():
      return {}
    try:
      return {
        # '00013118_008.png' is a film of patient 13118.
        entry["subset_img_id"]: str(int(entry["img_id"].partition("_")[0]))
        for entry in json.loads(path.read_bytes())
      }
    except (ValueError, TypeError, KeyError, AttributeError):
      raise ValueError(
        f"{_MAPPING} is not RSNA's list of films with subset_img_id and img_id"
      ) from None


def _target_and_box(cells: tables.Cells) -> tuple[int, Box | None]:
  if cells["Target"] not in ("0", "1"):
    raise ValueError(f"Target {cells['Target']!r} is neither 0 nor 1")
  target = int(cells["Target"])
  edges = [cells[name] for name in _EDGES]
  if not any(edges):
    return target, None
  try:
    left, top, width, height = (float(edge) / _BOX_UNIT_PX for edge in edges)
  except ValueError:
    raise ValueError(f"{', '.join(edges)} is no box") from None
  if not (target and width > 0 and height > 0):
    raise ValueError(
      f"there is a box of {edges[2]} x {edges[3]} for Target {target}"
    )
  box = Box(
    label=LABEL_NAMES.index("Pneumonia"),
    left=left,
    top=top,
    width=width,
    height=height,
  )
  return target, box


def _class_labels(name: str | None) -> list[int]:
  """One of the classes is positive; without a class all are missing."""
  if name is None:
    return [labels.MISSING] * len(_CLASSES)
  return [
    labels.POSITIVE if name == other else labels.NEGATIVE for other in _CLASSES
  ]
