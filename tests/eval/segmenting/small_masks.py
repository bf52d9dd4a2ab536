"""Small films with masks that brightness gives away, and their evaluation."""

import csv
import dataclasses
import pathlib

import numpy as np
from film_trees import prepare
from PIL import Image
from tiny_encoder import write_encoder

from scan42_jax.eval.segmenting.evaluating import evaluate
from scan42_jax.eval.segmenting.mask_settings import (
  SegmentationSettings,
  build_segmentation,
)

STRUCTURES = ("left_lung", "right_lung", "heart")
_LEVELS = {"left_lung": 110, "right_lung": 170, "heart": 235}
_COLUMNS = ("file", "patient_id", "split", *(f"mask_{n}" for n in STRUCTURES))


def draw(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """Returns a film and its masks: the left lung lies on the right."""
  rng = np.random.default_rng(seed)
  height, width = rng.integers(56, 72, 2)
  rows, columns = np.mgrid[:height, :width] / (height, width)[0]
  columns = columns * height / width
  rows -= rng.uniform(-0.05, 0.05)

  def ellipse(x, y, a, b):
    return ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 < 1

  masks = {
    "left_lung": ellipse(0.74, 0.45, 0.17, 0.3),
    "right_lung": ellipse(0.26, 0.45, 0.17, 0.3),
    "heart": ellipse(0.54, 0.62, 0.16, 0.15),
  }
  film = rng.integers(15, 45, (height, width)).astype(np.uint8)
  for name, mask in masks.items():
    film[mask] = _LEVELS[name] + rng.integers(-9, 10, int(mask.sum()))
  return film, masks


def write_tree(
  folder: pathlib.Path, *, count: int = 32, without_heart: int = 3
) -> pathlib.Path:
  """Writes films, masks and their table; returns the table.

  The first `without_heart` films have no mask of the heart.
  """
  source = folder / "source"
  source.mkdir(parents=True)
  rows = []
  for number in range(count):
    film, masks = draw(number)
    Image.fromarray(film).save(source / f"{number}.png")
    cells = dict.fromkeys(_COLUMNS, "")
    for name, mask in masks.items():
      if name == "heart" and number < without_heart:
        continue
      cells[f"mask_{name}"] = f"{number}_{name}.png"
      picture = Image.fromarray(mask.astype(np.uint8) * 255)
      picture.save(source / cells[f"mask_{name}"])
    cells["file"] = f"{number}.png"
    cells["patient_id"] = f"p{number // 2}"
    cells["split"] = ("train", "train", "validation", "test")[number // 2 % 4]
    rows.append(cells)
  return write_rows(folder / "labels.csv", rows)


def write_rows(path: pathlib.Path, rows: list[dict]) -> pathlib.Path:
  """Writes a table of the tree's columns."""
  with path.open("w", newline="") as stream:
    writer = csv.DictWriter(stream, _COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
  return path


def prepare_tree(folder: pathlib.Path, **tree) -> pathlib.Path:
  """Prepares such a tree and returns the data folder."""
  table = write_tree(folder, **tree)
  prepare(folder / "source", folder / "data", labels_csv=table)
  return folder / "data"


def prepared(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """Returns an encoder and a data folder with the dataset `folder`."""
  return write_encoder(folder / "encoder"), prepare_tree(folder)


def settings(**fields) -> SegmentationSettings:
  """Returns settings that run in seconds; fields as `group__name`."""
  values = dataclasses.asdict(SegmentationSettings())
  small = {
    "data__dataset": "folder",
    "data__size_px": 48,
    "head__layers": 2,
    "head__width": 16,
    "head__stages": 1,
    "train__steps": 6,
    "train__batch_size": 8,
    "train__warmup_steps": 1,
    "train__evaluate_every": 3,
    "report__draws": 100,
  }
  for name, value in (small | fields).items():
    *groups, leaf = name.split("__")
    target = values
    for group in groups:
      target = target[group]
    assert leaf in target, name
    target[leaf] = value
  return build_segmentation(values)


def run(workdir, encoder_and_data, *, source="", signals=(), **fields):
  """Evaluates into a work folder and returns the scores."""
  encoder, data_dir = encoder_and_data
  workdir.mkdir(exist_ok=True)
  return evaluate(
    settings(**fields),
    source or str(encoder),
    workdir=workdir,
    data_dir=data_dir,
    signals=list(signals),
  )
