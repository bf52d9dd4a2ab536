"""BRAX in miniature: PNG, or DICOM of which some lack their suffix."""

import pathlib

import numpy as np
from release_trees.chexpert import LABELS
from release_trees.files import pick, write_csv, write_dicom, write_film

_MARKS = {None: 0.7, "1": 0.15, "0": 0.1, "-1": 0.05}
_COLUMNS = [
  "DicomPath",
  "PngPath",
  "PatientID",
  "PatientSex",
  "PatientAge",
  *LABELS,
  "AccessionNumber",
  "StudyDate",
  "ViewPosition",
  "Rows",
  "Columns",
  "Manufacturer",
]


def make_tree(
  folder: pathlib.Path,
  *,
  seed: int,
  num_patients: int,
  dicom: bool = False,
) -> None:
  """Writes the tree.

  Args:
    folder: root of the release.
    seed: of everything.
    num_patients: in all; there are no splits.
    dicom: 1.0.0 with DICOM files, instead of 1.1.0 with PNG.
  """
  rng = np.random.default_rng(seed)
  rows = []
  for number in range(num_patients):
    patient = f"{rng.integers(16**12):012x}"
    age = pick(rng, {str(5 * rng.integers(4, 17)): 8, "85 or more": 1})
    sex = pick(rng, {"M": 4, "F": 4, None: 1})
    for _ in range(int(rng.integers(1, 3))):
      study = f"id_{patient}/Study_{_uid(rng)}"
      marks = [pick(rng, _MARKS) for _ in LABELS]
      for _ in range(int(rng.integers(1, 3))):
        path = f"{study}/Series_{_uid(rng)}/image-{_uid(rng)}"
        view = pick(rng, {"AP": 3, "PA": 4, "L": 2, "RL": 1, None: 1})
        files = [f"Anonymized_DICOMs/{path}.dcm", f"images/{path}.png"]
        if dicom:
          bare = number % 4 == 0
          path = folder / files[0].removesuffix(".dcm" * bare)
          write_dicom(path, rng, PatientID="of the header")
        else:
          write_film(folder / files[1], rng)
        tail = [_uid(rng), 20150101, view, 40, 32, "Carestream"]
        rows.append([*files, patient, sex, age, *marks, *tail])
  name = "master_spreadsheet" if dicom else "master_spreadsheet_update"
  write_csv(folder / f"{name}.csv", _COLUMNS, rows)


def _uid(rng) -> str:
  return f"{rng.integers(10**8)}.{rng.integers(10**8)}"
