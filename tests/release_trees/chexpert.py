"""CheXpert v1.0-small in miniature, or v1.0 in the batches of its download."""

import pathlib

import numpy as np
from release_trees.files import pick, write_csv, write_film

LABELS = [
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
]
_COLUMNS = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS]
_MARKS = {None: 0.7, "1.0": 0.15, "0.0": 0.1, "-1.0": 0.05}
_FIRST_PATIENT = {"train": 1, "valid": 64541, "test": 64741}


def make_tree(
  folder: pathlib.Path, *, seed: int, num_patients: int, batches: bool = False
) -> None:
  """Writes the tree.

  Args:
    folder: root of the release; its name opens the paths of the tables, unless
      it is a download in batches.
    seed: of everything.
    num_patients: in training; a tenth of them each in valid and test.
    batches: the full release as Stanford sends it.
  """
  rng = np.random.default_rng(seed)
  root = "CheXpert-v1.0" if batches else folder.name
  tables = folder / "CheXpert-v1.0 batch 1 (validate & csv)"
  held_out = max(num_patients // 10, 1)
  for split, count in [
    ("train", num_patients),
    ("valid", held_out),
    ("test", held_out),
  ]:
    rows = []
    for number in range(count):
      patient = f"patient{_FIRST_PATIENT[split] + number:05d}"
      place = folder / split
      if batches and split == "train":
        # Patients straight in the batch's folder, or below train.
        batch = number % 3 + 2
        place = folder / f"CheXpert-v1.0 batch {batch} (train {batch - 1})"
        place = place / "train" if batch == 4 else place
      elif batches:
        place = (tables if split == "valid" else folder / "CheXpert") / split
      for path, cells in _films(rng, split, patient, first=number == 0):
        write_film(place / patient / path, rng)
        prefix = "" if split == "test" else f"{root}/"
        rows.append([f"{prefix}{split}/{patient}/{path}", *cells])
    _write_table(tables if batches and split != "test" else folder, split, rows)


def _films(rng, split, patient, *, first):
  """Yields path below the patient and the cells behind it."""
  del patient
  sex, age = str(rng.choice(["Male", "Female"])), int(rng.integers(18, 91))
  if first:
    sex, age = "Unknown", 0
  for study in range(1, int(rng.integers(1, 4)) + 1):
    for view in range(1, int(rng.integers(1, 4)) + 1):
      side = "Frontal" if view == 1 or rng.random() < 0.3 else "Lateral"
      projection = pick(rng, {"AP": 80, "PA": 18, "LL": 1, "RL": 1})
      cells = [sex, age, side, projection if side == "Frontal" else None]
      marks = _MARKS if split == "train" else {"0.0": 0.8, "1.0": 0.2}
      cells += [pick(rng, marks) for _ in LABELS]
      yield f"study{study}/view{view}_{side.lower()}.jpg", cells


def _write_table(folder, split, rows):
  if split != "test":
    write_csv(folder / f"{split}.csv", _COLUMNS, rows)
    return
  # Labels in another order, whole numbers, and nothing else but the path.
  order = sorted(range(len(LABELS)), key=lambda i: LABELS[i])
  write_csv(
    folder / "test_labels.csv",
    ["Path", *(LABELS[i] for i in order)],
    [[row[0], *(int(float(row[5 + i])) for i in order)] for row in rows],
  )
