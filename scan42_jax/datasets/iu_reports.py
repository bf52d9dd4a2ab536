"""Reports of the Indiana University collection, as three owners ship them.

Open-i's XML, the Kaggle edition's tables and R2Gen's JSON; all give reports.
Which file holds which film is not known here.
"""

import dataclasses
import json
import pathlib
import re
import xml.etree.ElementTree as ET

from scan42_jax.datasets import tables

SECTIONS = ("comparison", "indication", "findings", "impression")
"""In the order of the reports; "XXXX" in them is de-identification."""

_FILM = re.compile(r"(?:CXR)?(\d+)_(?:\1_)?(IM-[\d-]+)(?:\.dcm)?(?:\.png)?")
_STUDY = re.compile(r"CXR(\d+)_IM-[\d-]+")
_SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """One report; it speaks of all films of a study.

  Attributes:
    comparison: sections of the report, '' where it has none; like the others.
    films: films of the study, as the report names them.
    split: R2Gen's; '' elsewhere.
  """

  comparison: str = ""
  indication: str = ""
  findings: str = ""
  impression: str = ""
  films: tuple[str, ...] = ()
  split: str = ""

  @property
  def text(self) -> str:
    """The whole report: a line for each section, with its head."""
    return "\n".join(
      f"{name.upper()}: {getattr(self, name)}"
      for name in SECTIONS
      if getattr(self, name)
    )


def film_id(name: str) -> tuple[str, str]:
  """Returns the number of the report and one id for a film's many names.

  'CXR1_1_IM-0001-3001' and '1_IM-0001-3001.dcm.png' are both 'CXR1' and
  'CXR1_IM-0001-3001'.

  Raises:
    ValueError: the name is not one of the collection.
  """
  match = _FILM.fullmatch(name)
  if not match:
    raise ValueError(f"{name!r} is no film of the collection")
  return f"CXR{match[1]}", f"CXR{match[1]}_{match[2]}"


def read_xml(path: pathlib.Path) -> Report:
  """Reads a report of Open-i.

  Raises:
    ValueError: the file is no XML.
  """
  try:
    root = ET.fromstring(path.read_bytes())
  except ET.ParseError as error:
    raise ValueError(f"damaged XML: {error}") from None
  texts = {
    element.get("Label", "").lower(): _one_line("".join(element.itertext()))
    for element in root.iter("AbstractText")
  }
  return Report(
    films=tuple(image.get("id", "") for image in root.iter("parentImage")),
    **{name: texts.get(name, "") for name in SECTIONS},
  )


def from_cells(cells: tables.Cells) -> Report:
  """Makes a report of a row of indiana_reports.csv; it names no films."""
  return Report(**{name: _one_line(cells[name]) for name in SECTIONS})


def read_r2gen(path: pathlib.Path) -> list[tuple[str, Report]]:
  """Reads R2Gen's annotation.json.

  Returns:
    Ids and reports, whose films are paths of pictures. R2Gen's report is the
    section of findings.

  Raises:
    ValueError: the file has another structure; one line.
  """
  try:
    parts = json.loads(path.read_bytes())
    return [
      _r2gen_report(part, entry)
      for part, entries in parts.items()
      for entry in entries
    ]
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f"{path.name} is not R2Gen's lists of id, report, image_path and split "
      f"({error})"
    ) from None


def study_number(study: str) -> str:
  """Returns 'CXR2384' for R2Gen's 'CXR2384_IM-0942'.

  Raises:
    ValueError: the id is not one of R2Gen's.
  """
  match = _STUDY.fullmatch(study)
  if not match:
    raise ValueError(f"{study!r} is no study of R2Gen")
  return f"CXR{match[1]}"


def _r2gen_report(part, entry) -> tuple[str, Report]:
  # In a copy in use the key of the test set is made of blanks.
  split = (entry.get("split") or part).strip() or "test"
  films = tuple(entry["image_path"])
  for film in films:
    if film.startswith("/") or ".." in film:
      raise ValueError(f"{film!r} is no path of a picture")
  study_number(entry["id"])
  report = Report(
    findings=_one_line(entry["report"]), films=films, split=_SPLITS[split]
  )
  return entry["id"], report


def _one_line(text: str) -> str:
  return " ".join(text.split())
