"""Predicted masks on disk: PNG of each structure, and CheXmask's run lengths.

Both have the size of the film's own mask.
"""

from __future__ import annotations

import csv
import hashlib
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from scan42_jax.data.images import encode_mask
from scan42_jax.data.mask_text import encode_runs
from scan42_jax.types import UInt8

TABLE = "masks_chexmask_format.csv"
"""CheXmask's columns; starts count from 1, row by row."""

_COLUMNS = {
  "left_lung": "Left Lung",
  "right_lung": "Right Lung",
  "heart": "Heart",
}


class MaskWriter:
  """Writes the masks of films, one after the other.

  The table appears when the writer is closed without an error; a mask that is
  written again replaces the old one.

  Args:
    folder: gets `ID_STRUCTURE.png` and the table.
    structures: names of the classes after the background.
  """

  def __init__(self, folder: pathlib.Path, structures: Sequence[str]):
    folder.mkdir(parents=True, exist_ok=True)
    self._folder, self._structures = folder, tuple(structures)
    self._beside = folder / f"{TABLE}.tmp"
    self._stream = self._beside.open("w", newline="", encoding="utf-8")
    self._rows = csv.writer(self._stream)
    organs = (_COLUMNS[name] for name in structures)
    self._rows.writerow(("ImageID", *organs, "Height", "Width"))

  def __enter__(self) -> MaskWriter:
    return self

  def __exit__(self, kind, *_) -> None:
    self._stream.close()
    if kind is None:
      self._beside.replace(self._folder / TABLE)

  def write(
    self, image_id: str, classes: UInt8[np.ndarray, "H W"]
  ) -> list[pathlib.Path]:
    """Writes one film's masks; returns their files."""
    masks = [
      classes == number for number in range(1, 1 + len(self._structures))
    ]
    self._rows.writerow((image_id, *map(encode_runs, masks), *classes.shape))
    paths = []
    for name, mask in zip(self._structures, masks, strict=True):
      paths.append(self._folder / f"{file_name(image_id)}_{name}.png")
      paths[-1].write_bytes(encode_mask(mask))
    return paths


def file_name(image_id: str) -> str:
  """Turns an id into the name of a file; ids that differ keep apart."""
  plain = re.sub(r"[^A-Za-z0-9._-]", "_", image_id)
  if plain == image_id and not plain.startswith("."):
    return plain
  digest = hashlib.sha256(image_id.encode()).hexdigest()[:8]
  return f"{plain.lstrip('.')}_{digest}"
