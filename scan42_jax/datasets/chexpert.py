"""`chexpert`: CheXpert v1.0 and v1.0-small in the layout of their releases."""

import functools
import math
import pathlib
import re
from collections.abc import Iterable, Iterator

from scan42_jax.datasets import base, listing, people, tables, views
from scan42_jax.datasets.reading import Row

LABEL_NAMES = (
  "No Finding",
  "Enlarged Cardiomediastinum",
  "Cardiomegaly",
  "Lung Opacity",
  "Lung Lesion",
  "Edema",
  "Consolidation",
  "Pneumonia",
  "Atelectasis",
  "Pneumothorax",
  "Pleural Effusion",
  "Pleural Other",
  "Fracture",
  "Support Devices",
)

COMPETITION_LABELS = (
  "Atelectasis",
  "Cardiomegaly",
  "Consolidation",
  "Edema",
  "Pleural Effusion",
)

_TABLES = {
  "train": "train.csv",
  "validation": "valid.csv",
  "test": "test_labels.csv",
}
_FOLDERS = {"train": "train", "validation": "valid", "test": "test"}
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
_PATH = re.compile(
  r"(?:.*/)?((train|valid|test)/(patient\d+)/(study\d+/view\d+_(\w+)\.jpg))"
)


class Chexpert(base.FilmDataset):
  """CheXpert: chest radiographs of Stanford Health Care, 14 labels.

  The source is the folder with train.csv and valid.csv, `CheXpert-v1.0` or
  `CheXpert-v1.0-small`, or the one above it, where the full release's `batch`
  folders also lie. test_labels.csv joins in where it is. Labels of train.csv
  were read from reports by the CheXpert labeller: -1 is uncertain, blank is not
  mentioned. Irvin et al., 2019, https://arxiv.org/abs/1901.07031
  """

  def label_names(self) -> tuple[str, ...]:
    """The 14 labels in the order of the release."""
    return LABEL_NAMES

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of all tables that are there."""
    roots = self._roots()
    found = {split: _find(roots, name) for split, name in _TABLES.items()}
    if not any(found.values()):
      tables.find_table(self.options.source, *_TABLES.values())  # Raises.
    patients = self._patient_folders()
    for split, path in found.items():
      if path is None:
        continue
      parse = functools.partial(_row, patients=patients, split=split)
      # The columns of test_labels.csv are documented nowhere, but for these.
      known, optional = ((), None) if split == "test" else (_COLUMNS[1:], ())
      yield from self.parse_table(
        path, ("Path", *known, *LABEL_NAMES), parse, optional=optional
      )

  def film_folders(self) -> Iterable[pathlib.Path]:
    """The folder of every patient."""
    folders = self._patient_folders().values()
    return [self.options.source / folder for folder in folders]

  def _roots(self) -> list[pathlib.Path]:
    """The source and the folders of the release just under it."""
    source = self.options.source
    return [source, *sorted(source.glob("CheXpert*/"))]

  def _patient_folders(self) -> dict[str, str]:
    """Maps patients to their folders under the source.

    The full release comes in batches which may hold train/patient00001 or
    patient00001, so a path of its tables need not exist as it stands.
    """
    return {
      folder.name: folder.relative_to(self.options.source).as_posix()
      for root in self._roots()
      for parent in (root, *(root / name for name in _FOLDERS.values()))
      for folder in sorted(parent.glob("patient*/"))
    }


def _find(roots, name: str) -> pathlib.Path | None:
  found = [root / name for root in roots if (root / name).is_file()]
  if len(found) > 1:
    raise ValueError(
      f"two releases in one source: {found[0]} and {found[1]}; give one of them"
    )
  return found[0] if found else None


def _row(cells: tables.Cells, where: str, *, patients, split: str) -> Row:
  match = _PATH.fullmatch(cells["Path"])
  if not match or match[2] != _FOLDERS[split]:
    raise ValueError(
      f"{cells['Path']!r} is no path of CheXpert's {split} films"
    )
  image_id, _, patient, rest, side = match.groups()
  folder = patients.get(patient)
  return listing.with_labels(
    Row(
      file=f"{folder}/{rest}" if folder else image_id,
      image_id=image_id,
      patient_id=patient,
      split=split,
      view=_view(cells.get("Frontal/Lateral") or side, cells.get("AP/PA")),
      sex=people.sex_code(cells.get("Sex", "")),
      # 0 stands for unknown: all patients are adults.
      age_years=people.age_years(cells.get("Age", "")) or math.nan,
      where=where,
    ),
    cells,
    LABEL_NAMES,
  )


def _view(side: str, projection: str | None) -> str:
  if side.lower() != "frontal":
    return views.LATERAL
  # 17 frontal films of train.csv carry LL or RL, the codes of lateral views.
  return projection if projection in ("AP", "PA") else views.FRONTAL
