"""CheXmask in miniature: one of its tables, and the release of the films."""

import pathlib

import numpy as np
import pandas as pd
import pydicom
from PIL import Image, ImageDraw
from release_trees import chexpert, mimic_cxr, nih_cxr8, padchest, vindr_cxr
from release_trees.files import SIZE_PX, pick, write_csv, write_film

ID_COLUMNS = {
  "CANDID-PTX": "ImageID",
  "ChestX-Ray8": "Image Index",
  "CheXpert": "Path",
  "MIMIC-CXR-JPG": "dicom_id",
  "Padchest": "ImageID",
  "VinDr-CXR": "image_id",
}
ORGANS = {
  "Right Lung": slice(0, 44),
  "Left Lung": slice(44, 94),
  "Heart": slice(94, 120),
}
MEAN, MAX = "Dice RCA (Mean)", "Dice RCA (Max)"
_RELEASES = {
  "ChestX-Ray8": nih_cxr8,
  "CheXpert": chexpert,
  "MIMIC-CXR-JPG": mimic_cxr,
  "Padchest": padchest,
  "VinDr-CXR": vindr_cxr,
}


def make_tree(
  folder: pathlib.Path,
  *,
  seed: int,
  num_patients: int,
  table: str,
) -> pathlib.Path:
  """Writes `films`, the release, and `OriginalResolution`, the table.

  Args:
    folder: of both.
    seed: of everything.
    num_patients: of the release.
    table: a key of ID_COLUMNS.

  Returns:
    The table.
  """
  rng = np.random.default_rng(seed)
  films = folder / "films"
  if table == "CANDID-PTX":
    names = [f"4.1.{n}.{rng.integers(10**9)}.1.jpg" for n in range(60)]
    for name in names:
      # The files need not have the suffix of the ids.
      suffix = ".png" if rng.random() < 0.5 else ".jpg"
      write_film(films / "images" / name.replace(".jpg", suffix), rng)
    ids = names
  else:
    release = _RELEASES[table]
    release.make_tree(films, seed=seed, num_patients=num_patients)
    ids = _ids(films, table)
  rows = [_row(rng, name, films, table) for name in ids]
  rows += [_row(rng, "of another release", films, table)]
  quality = [MEAN, MAX] if table != "Padchest" else [MAX, MEAN]
  columns = [ID_COLUMNS[table], *quality, "Landmarks", "Left Lung"]
  columns += ["Right Lung", "Heart", "Height", "Width"]
  packed = ".gz" * (seed % 2)
  path = folder / "OriginalResolution" / f"{table}.csv{packed}"
  write_csv(path, columns, [[row[name] for name in columns] for row in rows])
  return path


def _ids(films, table):
  """The frontal films, as CheXmask calls them."""
  if table == "ChestX-Ray8":
    return list(pd.read_csv(films / "Data_Entry_2017_v2020.csv")["Image Index"])
  if table == "CheXpert":
    frame = pd.concat(
      pd.read_csv(films / name) for name in ("train.csv", "valid.csv")
    )
    frame = frame[frame["Frontal/Lateral"] == "Frontal"]
    return list(frame["Path"].str.split("/", n=1).str[1])
  if table == "MIMIC-CXR-JPG":
    frame = pd.read_csv(films / "mimic-cxr-2.0.0-metadata.csv.gz")
    return list(frame[frame["ViewPosition"].isin(["AP", "PA"])]["dicom_id"])
  if table == "Padchest":
    frame = pd.read_csv(films / f"{padchest.TABLE}.gz")
    frame = frame[frame["Projection"].isin(["AP", "PA"])]
    known = ~frame["ImageID"].isin(padchest.DAMAGED)
    return list(frame["ImageID"][known])
  frames = [
    pd.read_csv(films / "annotations" / f"image_labels_{split}.csv")
    for split in ("train", "test")
  ]
  return list(pd.concat(frames)["image_id"].unique())


def _row(rng, name, films, table):
  height, width = _size(films, table, name)
  points = np.concatenate(
    [
      _ellipse(rng, 0.30 * width, height, 44),
      _ellipse(rng, 0.70 * width, height, 50),  # The left lung is on the right.
      _ellipse(rng, 0.55 * width, height, 26),
    ]
  )
  mean, top = sorted(rng.uniform(0.6, 1.0, 2))
  if table == "Padchest" and rng.random() < 0.6:
    mean, top = top, mean
  cells = {ID_COLUMNS[table]: name, MEAN: mean, MAX: top}
  grid = [height, width]
  if table == "CheXpert" and rng.random() < 0.1:
    grid = [width, height]  # On a canvas that lies on its side.
  for organ, part in ORGANS.items():
    runs = _runs(_filled(points[part], *grid))
    cells[organ] = None if rng.random() < 0.05 else runs
  sizes = [None, None] if table == "Padchest" and rng.random() < 0.5 else grid
  cells |= {"Height": sizes[0], "Width": sizes[1]}
  # As the lists of the preprocessed films have them, or NumPy's own text.
  listed = ",".join(map(str, points.ravel()))
  cells["Landmarks"] = pick(rng, {listed: 3, str(points): 3, None: 1})
  return cells


def _size(films, table, name):
  if table != "VinDr-CXR" or name == "of another release":
    return SIZE_PX
  path = next(films.glob(f"*/{name}.dicom"))
  film = pydicom.dcmread(path, stop_before_pixels=True)
  return film.Rows, film.Columns


def _ellipse(rng, center, height, count):
  angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
  x = center + rng.uniform(3, 5) * np.cos(angles)
  y = height * 0.5 + rng.uniform(7, 12) * np.sin(angles)
  return np.stack([x, y], -1).round().astype(int)


def _filled(points, height, width):
  picture = Image.new("1", (width, height))
  corners = [tuple(point) for point in points.tolist()]
  ImageDraw.Draw(picture).polygon(corners, fill=1, outline=1)
  return np.asarray(picture).ravel()


def _runs(flat):
  """Counts from 1, row by row."""
  runs, start = [], None
  for place, inside in enumerate([*flat, False], start=1):
    if inside and start is None:
      start = place
    elif not inside and start is not None:
      runs += [start, place - start]
      start = None
  return " ".join(map(str, runs))
