"""`chexpert`: CheXpert v1.0 and v1.0-small in the layout of their releases."""

import pathlib
import re
from collections.abc import Iterator

from scan42_jax.datasets import base, labels, tables, views
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
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
_PATH = re.compile(
  r"(?:.*/)?((?:train|valid|test)/(patient\d+)/(study\d+/view\d+_(\w+)\.jpg))"
)
_SEXES = {"Male": "M", "Female": "F"}


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
    roots = _roots(self.options.source)
    found = {split: _find(roots, name) for split, name in _TABLES.items()}
    if not any(found.values()):
      raise FileNotFoundError(
        f"none of {', '.join(_TABLES.values())} in {self.options.source} or "
        "its CheXpert folders"
      )
    patients = _patient_folders(self.options.source, roots)
    for split, path in found.items():
      if path is None:
        continue
      columns = ("Path",) if split == "test" else _COLUMNS
      for number, cells in tables.read_table(path, (*columns, *LABEL_NAMES)):
        where = f"{path.name} row {number}"
        yield _row(cells, patients, split=split, where=where)


def _roots(source: pathlib.Path) -> list[pathlib.Path]:
  """The source and the folders of the release just under it."""
  return [source, *sorted(source.glob("CheXpert*/"))]


def _find(roots, name: str) -> pathlib.Path | None:
  found = [root / name for root in roots if (root / name).is_file()]
  if len(found) > 1:
    raise ValueError(
      f"two releases in one source: {found[0]} and {found[1]}; give one of them"
    )
  return found[0] if found else None


def _patient_folders(source, roots) -> dict[str, str]:
  """Maps patients to their folders under the source.

  The full release comes in batches which may hold train/patient00001 or
  patient00001, so a path of its tables need not exist as it stands.
  """
  return {
    folder.name: folder.relative_to(source).as_posix()
    for root in roots
    for parent in (root, *(root / n for n in ("train", "valid", "test")))
    for folder in sorted(parent.glob("patient*/"))
  }


def _row(cells: dict[str, str], patients, *, split: str, where: str) -> Row:
  match = _PATH.fullmatch(cells["Path"])
  if not match:
    raise ValueError(f"{where}: {cells['Path']!r} is no path of CheXpert")
  image_id, patient, rest, side = match.groups()
  folder = patients.get(patient)
  try:
    values = tuple(
      labels.parse_label(cells[name], blank=labels.NOT_MENTIONED)
      for name in LABEL_NAMES
    )
    age = float(cells.get("Age") or 0)
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from None
  return Row(
    file=f"{folder}/{rest}" if folder else image_id,
    image_id=image_id,
    patient_id=patient,
    split=split,
    view=_view(cells.get("Frontal/Lateral") or side, cells.get("AP/PA")),
    sex=_SEXES.get(cells.get("Sex", ""), ""),
    age_years=age or float("nan"),  # 0 stands for unknown in adult films.
    labels=values,
    where=where,
  )


def _view(side: str, projection: str | None) -> str:
  if side.lower() != "frontal":
    return views.LATERAL
  # 17 frontal films of train.csv carry LL or RL, the codes of lateral views.
  return projection if projection in ("AP", "PA") else views.FRONTAL
