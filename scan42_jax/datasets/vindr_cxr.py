"""`vindr_cxr`: VinDr-CXR 1.0.0, labelled and outlined by radiologists."""

import functools
import pathlib
from collections.abc import Iterable, Iterator

from scan42_jax.data import dicom, film
from scan42_jax.datasets import base, labels, listing, tables
from scan42_jax.datasets.reading import Box, Row

_OTHER = ("Other diseases", "Other disease")
"""One label: the tables of training and of test spell it differently."""

LABEL_NAMES = (
  "Aortic enlargement",
  "Atelectasis",
  "Calcification",
  "Cardiomegaly",
  "Clavicle fracture",
  "Consolidation",
  "Edema",
  "Emphysema",
  "Enlarged PA",
  "ILD",
  "Infiltration",
  "Lung Opacity",
  "Lung cavity",
  "Lung cyst",
  "Mediastinal shift",
  "Nodule/Mass",
  "Pleural effusion",
  "Pleural thickening",
  "Pneumothorax",
  "Pulmonary fibrosis",
  "Rib fracture",
  "Other lesion",
  "COPD",
  "Lung tumor",
  "Pneumonia",
  "Tuberculosis",
  _OTHER[0],
  "No finding",
)
_HEALTHY = LABEL_NAMES[-1]

_SPLITS = {"train": "", "test": "test"}
_READERS = {"train": ("rad_id",), "test": ()}
# Some copies of the release have the tables beside the films.
_TABLE_FOLDERS = ("annotations/", "", "{split}/")
_EDGES = ("x_min", "y_min", "x_max", "y_max")


class VindrCxr(base.FilmDataset):
  """VinDr-CXR: 18,000 films of two hospitals in Vietnam, 28 labels.

  The source is the folder with `train`, `test` and `annotations`. A label of a
  training film is what most of its radiologists say (three, with a row each);
  test films have one row, their consensus. Boxes of all radiologists are kept.
  Test is the official split; validation is drawn from training by image, since
  no patient is named. Nguyen et al., Scientific Data 2022,
  https://doi.org/10.1038/s41597-022-01498-w
  """

  HASHED_SPLITS = ("validation",)

  def label_names(self) -> tuple[str, ...]:
    """The 28 labels in the order of the release, spelt as in training."""
    return LABEL_NAMES

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of both tables; reads headers of films with boxes."""
    for split in self._parts():
      boxes = self._boxes(split)
      for image_id, votes in self._votes(split).items():
        file = f"{split}/{image_id}.dicom"
        yield Row(
          file=file,
          image_id=image_id,
          split=_SPLITS[split],
          labels=_majority([values for _, values in votes.values]),
          boxes=self._shares(file, boxes.get(image_id, [])),
          where=votes.where,
          fault=votes.fault or _fault(image_id, votes),
        )

  def film_folders(self) -> Iterable[pathlib.Path]:
    """`train` and `test`, as far as they are there."""
    folders = (self.options.source / split for split in _SPLITS)
    return [folder for folder in folders if folder.is_dir()]

  def _parts(self) -> list[str]:
    """The parts of the release that are there."""
    parts = [folder.name for folder in self.film_folders()]
    if not parts:
      raise tables.not_found(self.options.source, *_SPLITS)
    return parts

  def _votes(self, split: str) -> dict[str, listing.Group]:
    """Maps images to their labels by each radiologist."""
    path = tables.find_table(
      self.options.source, *_table_names("image_labels", split)
    )
    readers = _READERS[split]
    known = tuple(name for name in LABEL_NAMES if name not in _OTHER)
    return self.grouped_table(
      path,
      ("image_id", *readers, *known),
      functools.partial(_vote, readers=readers),
      optional=_OTHER,
    )

  def _boxes(self, split: str) -> dict[str, list[Box]]:
    """Maps images to boxes in pixels; empty where the table is absent."""
    boxes: dict[str, list[Box]] = {}
    names = _table_names("annotations", split)
    path = tables.optional_table(self.options.source, *names)
    columns = ("image_id", *_READERS[split], "class_name", *_EDGES)
    rows = self.table_cells(path, columns, optional=()) if path else ()
    for number, cells in rows:
      if cells["class_name"] == _HEALTHY:
        continue
      try:
        box = _box_px(cells)
      except ValueError as error:
        self.add_fault(f"{path.name} row {number}", f"is no box: {error}")
      else:
        boxes.setdefault(cells["image_id"], []).append(box)
    return boxes

  def _shares(self, file: str, boxes: list[Box]) -> tuple[Box, ...]:
    """Measures boxes in pixels by the size of their film."""
    if not boxes:
      return ()
    try:
      height, width = dicom.read_size(self.options.source / file)
    except film.RejectedFilm:
      return ()  # The film is listed as damaged once it is read.
    return tuple(
      Box(
        label=box.label,
        left=box.left / width,
        top=box.top / height,
        width=box.width / width,
        height=box.height / height,
      )
      for box in boxes
    )


def _table_names(stem: str, split: str) -> list[str]:
  return [
    f"{folder.format(split=split)}{stem}_{split}.csv"
    for folder in _TABLE_FOLDERS
  ]


def _vote(
  cells: tables.Cells, *, readers: tuple[str, ...]
) -> tuple[str, tuple[int, ...]]:
  """Returns the radiologist, '' for the consensus, and the labels."""
  spelling = next((name for name in _OTHER if name in cells), None)
  if spelling is None:
    raise ValueError(f"there is no column {' or '.join(_OTHER)}")
  names = tuple(spelling if n in _OTHER else n for n in LABEL_NAMES)
  values = labels.parse_labels(cells, names, blank=labels.MISSING)
  if min(values) < labels.NEGATIVE:
    raise ValueError("a label is neither 0 nor 1")
  return "".join(cells[name] for name in readers), values


def _fault(image_id: str, votes: listing.Group) -> str:
  readers = [reader for reader, _ in votes.values]
  if len(set(readers)) < len(readers):
    return f"{votes.where}: somebody labels {image_id} in two ways"
  return ""


def _majority(votes: list[tuple[int, ...]]) -> tuple[int, ...]:
  """Returns what more than half of the votes say; a draw is negative."""
  return tuple(
    labels.POSITIVE if 2 * sum(values) > len(votes) else labels.NEGATIVE
    for values in zip(*votes, strict=True)
  )


def _box_px(cells: tables.Cells) -> Box:
  name = _OTHER[0] if cells["class_name"] in _OTHER else cells["class_name"]
  if name not in LABEL_NAMES:
    raise ValueError(f"class_name {name!r} is no label")
  left, top, right, bottom = (float(cells[edge]) for edge in _EDGES)
  if not (left < right and top < bottom):
    raise ValueError(f"from {left:g}, {top:g} to {right:g}, {bottom:g}")
  return Box(
    label=LABEL_NAMES.index(name),
    left=left,
    top=top,
    width=right - left,
    height=bottom - top,
  )
