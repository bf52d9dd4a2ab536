"""`nih_cxr8`: ChestX-ray14 of the NIH Clinical Center, with its own lists."""

import functools
import pathlib
from collections.abc import Iterable, Iterator

from scan42_jax.datasets import base, film_files, labels, people, tables
from scan42_jax.datasets.reading import Box, Row

LABEL_NAMES = (
  "Atelectasis",
  "Cardiomegaly",
  "Consolidation",
  "Edema",
  "Effusion",
  "Emphysema",
  "Fibrosis",
  "Hernia",
  "Infiltration",
  "Mass",
  "Nodule",
  "Pleural_Thickening",
  "Pneumonia",
  "Pneumothorax",
)

_HEALTHY = "No Finding"
_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_BOXES = "BBox_List_2017.csv"
_LISTS = {"": "train_val_list.txt", "test": "test_list.txt"}
_COLUMNS = (
  "Image Index",
  "Finding Labels",
  "Patient ID",
  "Patient Age",
  "Patient Gender",
  "View Position",
)
_OTHER_COLUMNS = (
  "Follow-up #",
  # A comma stands inside the brackets, so these are four columns.
  "OriginalImage[Width",
  "Height]",
  "OriginalImagePixelSpacing[x",
  "y]",
)
_BOX_COLUMNS = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
_BOX_LABELS = {"Infiltrate": "Infiltration"}
_BOX_UNIT_PX = 1024
"""Boxes are measured in the films of the release, which have this size."""


class NihCxr8(base.FilmDataset):
  """NIH ChestX-ray14 (CXR8): 112,120 frontal films of 30,805 patients.

  The source is the folder with the table Data_Entry_2017_v2020.csv (or the
  first one, Data_Entry_2017.csv), train_val_list.txt, test_list.txt and the
  folders images_001 to images_012; BBox_List_2017.csv joins in where it is.
  Test is the official list; validation is drawn by patient from the other. The
  14 labels were mined from reports: what is not named counts as negative.
  Wang et al., CVPR 2017, https://arxiv.org/abs/1705.02315
  """

  HASHED_SPLITS = ("validation",)

  def label_names(self) -> tuple[str, ...]:
    """The 14 findings, alphabetically."""
    return LABEL_NAMES

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of the table."""
    source = self.options.source
    path = tables.find_table(source, *_TABLES)
    file_of = functools.partial(_file, files=self._files())
    parse = functools.partial(
      _row, file_of=file_of, splits=_splits(source), boxes=self._boxes()
    )
    yield from self.parse_table(
      path, _COLUMNS, parse, file_of=file_of, optional=_OTHER_COLUMNS
    )

  def film_folders(self) -> Iterable[pathlib.Path]:
    """images_001 to images_012, or what stands for them."""
    return sorted(self.options.source.glob("images*/"))

  def _files(self) -> dict[str, str]:
    """Maps names of films to their files under the source."""
    return {
      name.rpartition("/")[2]: f"{folder.name}/{name}"
      for folder in self.film_folders()
      for name in film_files.find_films(folder)
    }

  def _boxes(self) -> dict[str, list[Box]]:
    """Maps names of films to their boxes."""
    boxes: dict[str, list[Box]] = {}
    path = tables.optional_table(self.options.source, _BOXES)
    rows = self.table_cells(path, _BOX_COLUMNS, optional=()) if path else ()
    for number, cells in rows:
      try:
        box = _box(cells)
      except ValueError as error:
        self.add_fault(f"{path.name} row {number}", f"is no box: {error}")
      else:
        boxes.setdefault(cells["Image Index"], []).append(box)
    return boxes


def _splits(source: pathlib.Path) -> dict[str, str]:
  """Maps names of films to 'test' or '', by the two lists of the release.

  Raises:
    FileNotFoundError: a list is absent.
    ValueError: a film is in both lists.
  """
  splits: dict[str, str] = {}
  for split, name in _LISTS.items():
    for line in tables.read_lines(tables.find_table(source, name)):
      film = line.strip()
      if splits.setdefault(film, split) != split:
        raise ValueError(f"{film} is in both {' and '.join(_LISTS.values())}")
  return splits


def _file(cells: tables.Cells, *, files: dict[str, str]) -> str:
  name = cells["Image Index"]
  return files.get(name, f"images/{name}")


def _row(cells: tables.Cells, where: str, *, file_of, splits, boxes) -> Row:
  name = cells["Image Index"]
  if name not in splits:
    raise ValueError(f"{name!r} is in neither {' nor '.join(_LISTS.values())}")
  return Row(
    file=file_of(cells),
    image_id=name,
    patient_id=cells["Patient ID"],
    split=splits[name],
    view=cells["View Position"],
    sex=people.sex_code(cells["Patient Gender"]),
    age_years=people.age_years(cells["Patient Age"]),
    labels=_labels(cells["Finding Labels"]),
    boxes=tuple(boxes.get(name, ())),
    where=where,
  )


def _labels(text: str) -> tuple[int, ...]:
  found = set(text.split("|"))
  unknown = found - {*LABEL_NAMES, _HEALTHY}
  if unknown:
    raise ValueError(f"Finding Labels {text!r} names {min(unknown)!r}")
  return tuple(
    labels.POSITIVE if name in found else labels.NEGATIVE
    for name in LABEL_NAMES
  )


def _box(cells: tables.Cells) -> Box:
  label = cells["Finding Label"]
  edges = (float(cells[name]) / _BOX_UNIT_PX for name in _BOX_COLUMNS[2:])
  left, top, width, height = edges
  return Box(
    label=LABEL_NAMES.index(_BOX_LABELS.get(label, label)),
    left=left,
    top=top,
    width=width,
    height=height,
  )
