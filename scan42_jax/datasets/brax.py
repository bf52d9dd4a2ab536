"""`brax`: BRAX 1.1.0 (and 1.0.0), chest radiographs labelled like CheXpert."""

import functools
import pathlib
from collections.abc import Iterable, Iterator

from scan42_jax.datasets import base, chexpert, listing, people, tables
from scan42_jax.datasets.reading import Row

_TABLES = ("master_spreadsheet_update.csv", "master_spreadsheet.csv")
_COLUMNS = (
  "DicomPath",
  "PngPath",
  "PatientID",
  "PatientSex",
  "PatientAge",
  "ViewPosition",
)
_PNG_FOLDER, _DICOM_FOLDER = "images", "Anonymized_DICOMs"


class Brax(base.FilmDataset):
  """BRAX: 40,967 chest radiographs of Hospital Israelita Albert Einstein.

  The source is the folder with master_spreadsheet_update.csv and `images` (PNG)
  or `Anonymized_DICOMs`; PNG is read where both are there. Labels were read
  from reports by the CheXpert labeller: -1 is uncertain, blank is not
  mentioned. Ages are the lower ends of five-year bins. There is no official
  split. Reis et al., Scientific Data 2022,
  https://doi.org/10.1038/s41597-022-01608-8
  """

  def label_names(self) -> tuple[str, ...]:
    """The 14 labels of CheXpert, in its order."""
    return chexpert.LABEL_NAMES

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of the table."""
    source = self.options.source
    path = tables.find_table(source, *_TABLES)
    parse = functools.partial(
      _png_row if self._has_png() else _dicom_row, source=source
    )
    yield from self.parse_table(path, (*_COLUMNS, *chexpert.LABEL_NAMES), parse)

  def film_folders(self) -> Iterable[pathlib.Path]:
    """The folder of the files that are read."""
    name = _PNG_FOLDER if self._has_png() else _DICOM_FOLDER
    folder = self.options.source / name
    return [folder] if folder.is_dir() else []

  def _has_png(self) -> bool:
    return (self.options.source / _PNG_FOLDER).is_dir()


def _png_row(cells: tables.Cells, where: str, *, source) -> Row:
  del source
  return _row(cells, cells["PngPath"], where)


def _dicom_row(cells: tables.Cells, where: str, *, source) -> Row:
  file = cells["DicomPath"]
  # Some files of 1.0.0 lack the suffix that the table gives them.
  if not (source / file).is_file():
    bare = file.removesuffix(".dcm")
    file = bare if (source / bare).is_file() else file
  return _row(cells, file, where)


def _row(cells: tables.Cells, file: str, where: str) -> Row:
  path = pathlib.PurePosixPath(file)
  if len(path.parts) < 2 or path.is_absolute() or ".." in path.parts:
    raise ValueError(f"{file!r} is no path of BRAX")
  row = Row(
    file=str(path),
    # Below the top folder and without suffix, PNG and DICOM have one path.
    image_id="/".join(path.parts[1:]).removesuffix(".dcm").removesuffix(".png"),
    patient_id=cells["PatientID"],
    view=cells["ViewPosition"],
    sex=people.sex_code(cells["PatientSex"]),
    age_years=people.age_years(cells["PatientAge"]),
    where=where,
  )
  return listing.with_labels(row, cells, chexpert.LABEL_NAMES)
