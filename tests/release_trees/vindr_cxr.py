"""VinDr-CXR in miniature: DICOM, three radiologists for each training film."""

import pathlib

import numpy as np
from release_trees.files import pick, write_csv, write_dicom

LABELS = [
  "Aortic enlargement",
  "Atelectasis",
  "Calcification",
  "Cardiomegaly",
  "Clavicle fracture",
  "Consolidation",
  "Edema",
  "Emphysema",
  "Enlarged PA",
  "ILD",
  "Infiltration",
  "Lung Opacity",
  "Lung cavity",
  "Lung cyst",
  "Mediastinal shift",
  "Nodule/Mass",
  "Pleural effusion",
  "Pleural thickening",
  "Pneumothorax",
  "Pulmonary fibrosis",
  "Rib fracture",
  "Other lesion",
  "COPD",
  "Lung tumor",
  "Pneumonia",
  "Tuberculosis",
  "Other diseases",
  "No finding",
]
_EDGES = ["x_min", "y_min", "x_max", "y_max"]


def make_tree(
  folder: pathlib.Path,
  *,
  seed: int,
  num_patients: int,
  tables: str = "annotations",
) -> None:
  """Writes the tree.

  Args:
    folder: root of the release.
    seed: of everything.
    num_patients: films for training, for no patient has a name; a fifth of
      them in the test set.
    tables: folder of the tables below the root.
  """
  rng = np.random.default_rng(seed)
  for split, count in (("train", num_patients), ("test", num_patients // 5)):
    votes, boxes = [], []
    for _ in range(count):
      image = rng.bytes(16).hex()
      size = tuple(int(side) for side in rng.integers(30, 60, 2))
      _write_film(folder / split / f"{image}.dicom", rng, size)
      readers = [None]
      if split == "train":
        readers = [f"R{n}" for n in rng.choice(17, 3, replace=False) + 1]
      truth = rng.random(len(LABELS) - 1) < 0.15
      for reader in readers:
        found = truth ^ (rng.random(len(truth)) < 0.1)
        marks = [*found.astype(int), int(not found.any())]
        who = [image, reader] if reader else [image]
        votes.append([*who, *marks])
        boxes += [[*who, *box] for box in _boxes(rng, found, size, split)]
    rng.shuffle(votes)
    columns = ["image_id", *(["rad_id"] if split == "train" else [])]
    home = folder / tables.format(split=split)
    names = _spelt(LABELS, split)
    write_csv(home / f"image_labels_{split}.csv", columns + names, votes)
    columns = [*columns, "class_name", *_EDGES]
    write_csv(home / f"annotations_{split}.csv", columns, boxes)


def _spelt(names, split):
  last = {"Other diseases": "Other disease"} if split == "test" else {}
  return [last.get(name, name) for name in names]


def _boxes(rng, found, size, split):
  if not found.any():
    return [["No finding", None, None, None, None]]
  height, width = size
  boxes = []
  for name in np.array(_spelt(LABELS[:-1], split))[found][:3]:
    left, top = rng.integers(0, 10, 2)
    right, bottom = rng.integers(15, width), rng.integers(15, height)
    boxes.append([name, left, top, right, bottom])
  return boxes


def _write_film(path, rng, size):
  write_dicom(
    path,
    rng,
    size_px=size,
    PhotometricInterpretation=pick(rng, {"MONOCHROME2": 4, "MONOCHROME1": 1}),
    PatientSex=pick(rng, {"M": 4, "F": 4, "O": 1}),
    PatientAge=pick(rng, {"045Y": 1, "": 1, "071Y": 1}),
    WindowCenter=2048,
    WindowWidth=4096,
  )
