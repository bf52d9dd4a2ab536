"""`padchest`: PadChest in the layout of its release, 16-bit PNG."""

import ast
import functools
import math
import pathlib
from collections.abc import Iterable, Iterator

from scan42_jax.datasets import base, labels, people, tables
from scan42_jax.datasets.reading import Row

_TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
_COLUMNS = (
  "ImageID",
  "ImageDir",
  "StudyDate_DICOM",
  "PatientID",
  "PatientBirth",
  "PatientSex_DICOM",
  "Projection",
  "Labels",
)

_DAMAGED = frozenset(
  {
    "216840111366964012283393834152009033102258826_00-059-087.png",
    "216840111366964012339356563862009072111404053_00-043-192.png",
    "216840111366964012373310883942009117084022290_00-064-025.png",
    "216840111366964012373310883942009152114636712_00-102-045.png",
    "216840111366964012373310883942009170084120009_00-097-074.png",
    "216840111366964012487858717522009280135853083_00-075-001.png",
    "216840111366964012558082906712009327122220177_00-102-064.png",
    "216840111366964012819207061112010281134410801_00-129-131.png",
    "216840111366964012819207061112010306085429121_04-020-102.png",
    "216840111366964012819207061112010307142602253_04-014-084.png",
    "216840111366964012819207061112010315104455352_04-024-184.png",
    "216840111366964012959786098432011033083840143_00-176-115.png",
    "216840111366964012989926673512011074122523403_00-163-058.png",
    "216840111366964012989926673512011083134050913_00-168-009.png",
    "216840111366964012989926673512011151082430686_00-157-045.png",
    "216840111366964013076187734852011291090445391_00-196-188.png",
    "216840111366964013590140476722013043111952381_02-065-198.png",
    "216840111366964013590140476722013058110301622_02-056-111.png",
    "216840111366964013686042548532013208193054515_02-026-007.png",
    "216840111366964013829543166512013353113303615_02-092-190.png",
    "216840111366964013962490064942014134093945580_01-178-104.png",
  }
)
"""Films of the release that are absent, cut, or have zeroed parts."""


class Padchest(base.FilmDataset):
  """PadChest: about 160,000 films of 67,000 patients of Hospital San Juan.

  The source is the folder with the table and the folders 0 to 50 and 54. Labels
  are the strings of the table's label lists, as many as there are: findings,
  and also `normal`, `exclude`, `suboptimal study`, `unchanged`. What a list
  does not name is negative; where it is blank or empty all labels are missing.
  Reports are Spanish, stemmed and in small letters. There is no official
  split. Bustos et al., 2020, https://doi.org/10.1016/j.media.2020.101797
  """

  def label_names(self) -> tuple[str, ...]:
    """Every label of the table, alphabetically."""
    return self._names

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of the table."""
    path = tables.find_table(self.options.source, _TABLE)
    parse = functools.partial(_row, names=self._names)
    yield from self.parse_table(path, _COLUMNS, parse, file_of=_file)

  def film_folders(self) -> Iterable[pathlib.Path]:
    """The numbered folders."""
    return sorted(self.options.source.glob("[0-9]*/"))

  @functools.cached_property
  def _names(self) -> tuple[str, ...]:
    path = tables.find_table(self.options.source, _TABLE)
    found: set[str] = set()
    for _, cells in self.table_cells(path, _COLUMNS):
      try:
        found |= _labels(cells["Labels"])
      except ValueError:
        continue  # A fault of the row, once the rows are listed.
    return tuple(sorted(found))


def _file(cells: tables.Cells) -> str:
  folder = _whole_number(cells["ImageDir"], "ImageDir")
  return f"{folder}/{cells['ImageID']}"


def _row(cells: tables.Cells, where: str, *, names) -> Row:
  name = cells["ImageID"]
  found = _labels(cells["Labels"])
  values = tuple(
    labels.POSITIVE if label in found else labels.NEGATIVE for label in names
  )
  return Row(
    file=_file(cells),
    image_id=name,
    patient_id=cells["PatientID"],
    view=cells["Projection"],
    sex=people.sex_code(cells["PatientSex_DICOM"]),
    age_years=_age(cells["StudyDate_DICOM"], cells["PatientBirth"]),
    labels=values if found else (labels.MISSING,) * len(names),
    report=cells.get("Report", ""),
    where=where,
    fault=f"{where}: known to be damaged" if name in _DAMAGED else "",
  )


def _labels(text: str) -> set[str]:
  """Reads "['cardiomegaly', ' pneumonia', '']"; blank gives no label.

  Raises:
    ValueError: the text is no list of texts.
  """
  if not text:
    return set()
  try:
    values = ast.literal_eval(text)
    if isinstance(values, list):
      return {value.strip() for value in values} - {""}
    raise ValueError
  except (ValueError, SyntaxError, AttributeError, RecursionError):
    raise ValueError(f"Labels {text[:40]!r} is no list of labels") from None


def _age(study_date: str, birth: str) -> float:
  """Age at the study, from its date and the year of birth."""
  try:
    years = int(study_date[:4]) - _whole_number(birth[:4], "PatientBirth")
  except ValueError:
    return math.nan
  return people.age_years(str(years))


def _whole_number(text: str, column: str) -> int:
  """Reads '12', and '12.0' as readers of tables make of it."""
  whole, _, rest = text.partition(".")
  if not whole.isdecimal() or rest.strip("0"):
    raise ValueError(f"{column} {text!r} is no whole number")
  return int(whole)
