"""Lists of films that pretraining leaves out, stored beside the datasets.

`DATA_DIR/exclusions/NAME.csv` names films by their place in a split. A place is
only good for the shards it was found in, so each line names their manifest; and
a line without a place says that a split was looked through.
"""

import csv
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Sequence

FOLDER = "exclusions"

_COLUMNS = (
  "dataset",
  "split",
  "position",
  "image_id",
  "reason",
  "manifest_sha256",
)
_CHECKED = "looked through"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edition:
  """One split of a dataset as it was prepared.

  Attributes:
    dataset: name of the dataset.
    split: name of the split.
    manifest_sha256: SHA-256 of its manifest.
  """

  dataset: str
  split: str
  manifest_sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exclusion:
  """A film to leave out.

  Attributes:
    edition: where it lies.
    position: its number there.
    image_id: for people who read the list.
    reason: why.
  """

  edition: Edition
  position: int
  image_id: str
  reason: str


def list_file(data_dir: pathlib.Path, name: str) -> pathlib.Path:
  """Returns the file of a list.

  Raises:
    ValueError: the name would leave the folder.
  """
  if not re.fullmatch(r"[\w-]+", name):
    raise ValueError(
      f"exclusion list {name!r} is not made of letters, digits, - and _"
    )
  return data_dir / FOLDER / f"{name}.csv"


def write_exclusions(
  path: pathlib.Path,
  checked: Iterable[Edition],
  excluded: Iterable[Exclusion],
) -> None:
  """Writes a list.

  Args:
    path: of the list, see `list_file`.
    checked: splits that were looked through, with or without a find.
    excluded: the films to leave out.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("w", newline="") as stream:
    writer = csv.DictWriter(stream, _COLUMNS)
    writer.writeheader()
    for edition in checked:
      cells = dataclasses.asdict(edition)
      writer.writerow({**cells, "position": "", "reason": _CHECKED})
    for film in excluded:
      cells = dataclasses.asdict(film)
      writer.writerow({**cells.pop("edition"), **cells})


def excluded_positions(
  data_dir: pathlib.Path, names: Sequence[str], edition: Edition
) -> list[int]:
  """Returns the places that the named lists leave out of a split, sorted.

  Raises:
    FileNotFoundError: there is no such list.
    ValueError: a list does not know this edition of the split.
  """
  found: set[int] = set()
  for name in names:
    path = list_file(data_dir, name)
    if not path.is_file():
      raise FileNotFoundError(
        f"no exclusion list {path}; make it with {_command(name)}"
      )
    found |= _positions(path, edition)
  return sorted(found)


def _positions(path, edition):
  with path.open(newline="") as stream:
    lines = [
      cells
      for cells in csv.DictReader(stream)
      if (cells["dataset"], cells["split"]) == (edition.dataset, edition.split)
    ]
  if not lines or {line["manifest_sha256"] for line in lines} != {
    edition.manifest_sha256
  }:
    why = "was made for other shards" if lines else "does not cover"
    raise ValueError(
      f"exclusion list {path} {why}: dataset {edition.dataset}, split "
      f"{edition.split}; run {_command(path.stem)}"
    )
  return {int(line["position"]) for line in lines if line["position"]}


def _command(name):
  return (
    "python -m scan42_jax.data.leakage --data_dir=DIR --pretraining=A,B "
    f"--evaluation=C --exclusions={name} --output=DIR"
  )
