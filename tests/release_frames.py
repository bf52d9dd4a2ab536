"""Compares the rows of a dataset with a table that pandas made on its own."""

import importlib
import pathlib

import numpy as np
import pandas as pd

from scan42_jax import datasets
from scan42_jax.datasets.reading import Options

FIELDS = ("file", "patient_id", "split", "view", "sex", "age_years")


def build(name: str, source: pathlib.Path, **options):
  """Makes the dataset of a release, as the preparation does."""
  module = importlib.import_module(f"scan42_jax.datasets.{name}")
  made = getattr(module, datasets.CLASSES[name])
  return made(Options(source=source, **options), data_dir=str(source.parent))


def frame(dataset) -> pd.DataFrame:
  """Returns the rows of a dataset by image id, labels as columns."""
  rows = list(dataset.rows())
  assert not [row.fault for row in rows if row.fault]
  fields = pd.DataFrame(
    [[getattr(row, field) for field in FIELDS] for row in rows],
    columns=FIELDS,
  )
  values = np.array([row.labels for row in rows])
  labels = pd.DataFrame(values, columns=list(dataset.label_names()))
  both = pd.concat([fields, labels], axis=1)
  both.index = pd.Index([row.image_id for row in rows], name="image_id")
  return both


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
  """Compares row by row, in any order of rows and columns."""
  assert found.index.is_unique and expected.index.is_unique
  assert set(found.columns) == set(expected.columns)
  expected = expected.loc[found.index, found.columns]
  assert len(expected) == len(found)
  pd.testing.assert_frame_equal(
    found.astype(object),
    expected.astype(object),
    check_index_type=False,
    check_column_type=False,
    check_names=False,
  )


def faults(dataset) -> dict[str, str]:
  """Returns the faults of a listing by file, place or table."""
  return {row.file: row.fault for row in dataset.rows() if row.fault}
