"""NIH ChestX-ray14 in miniature: twelve folders, lists, boxes."""

import pathlib

import numpy as np
from PIL import Image
from release_trees.files import film, pick, write_csv, write_film

LABELS = [
  "Infiltration",
  "Effusion",
  "Atelectasis",
  "Nodule",
  "Mass",
  "Pneumothorax",
  "Consolidation",
  "Pleural_Thickening",
  "Cardiomegaly",
  "Emphysema",
  "Edema",
  "Fibrosis",
  "Pneumonia",
  "Hernia",
]
_HEADER = (
  "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,"
  "Patient Gender,View Position,OriginalImage[Width,Height],"
  "OriginalImagePixelSpacing[x,y]"
)


def make_tree(
  folder: pathlib.Path,
  *,
  seed: int,
  num_patients: int,
  first_table: bool = False,
) -> None:
  """Writes the tree.

  Args:
    folder: root of the release.
    seed: of everything.
    num_patients: a fifth of them in test_list.txt.
    first_table: Data_Entry_2017.csv, with ages like 058Y and 414Y and an empty
      column at the end, instead of the corrected table.
  """
  rng = np.random.default_rng(seed)
  rows, boxes = [], []
  lists = {"train_val_list.txt": [], "test_list.txt": []}
  for number in range(num_patients):
    patient = number + 1
    home = "test_list.txt" if number % 5 == 4 else "train_val_list.txt"
    sex, age = str(rng.choice(["M", "F"])), int(rng.integers(0, 96))
    for visit in range(int(rng.integers(1, 5))):
      name = f"{patient:08d}_{visit:03d}.png"
      part = 1 + (patient * 12) // (num_patients + 1)
      path = folder / f"images_{part:03d}" / "images" / name
      _write(path, rng)
      lists[home].append(name)
      findings = _findings(rng)
      rows.append(_row(rng, name, findings, visit, patient, age, sex))
      if findings and rng.random() < 0.3:
        label = "Infiltrate" if "Infiltration" in findings else findings[0]
        box = rng.uniform(50, 400, 4).tolist()
        boxes.append([name, label, *box, None, None, None])
  _write_table(folder, rows, first_table)
  header = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
  write_csv(folder / "BBox_List_2017.csv", header, boxes)
  for name, films in lists.items():
    (folder / name).write_text("\n".join(films))


def _write(path, rng):
  """Writes a film; a few have four channels."""
  if rng.random() < 0.05:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = film(rng)
    opaque = np.full_like(grey, 255)
    Image.fromarray(np.stack([grey] * 3 + [opaque], -1)).save(path)
  else:
    write_film(path, rng)


def _findings(rng):
  count = int(rng.integers(0, 4))
  return [str(name) for name in rng.choice(LABELS, count, replace=False)]


def _row(rng, name, findings, visit, patient, age, sex):
  view = pick(rng, {"PA": 6, "AP": 4})
  text = "|".join(findings) or "No Finding"
  size = [2500, 2048, 0.168, 0.168]
  return [name, text, visit, patient, age, sex, view, *size]


def _write_table(folder, rows, first_table):
  if not first_table:
    write_csv(folder / "Data_Entry_2017_v2020.csv", _HEADER, rows)
    return
  rows = [[*row[:4], f"{row[4]:03d}Y", *row[5:], None] for row in rows]
  rows[0][4] = "414Y"
  write_csv(folder / "Data_Entry_2017.csv", f"{_HEADER},", rows)
