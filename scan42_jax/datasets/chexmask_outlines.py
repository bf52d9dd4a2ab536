"""Lungs and heart of one row of CheXmask: run lengths, landmarks, masks.

A row has some 50 kilobytes, a table several gigabytes: while the release is
listed, rows are put by in a file, from which each film's is read again.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
import zlib
from typing import BinaryIO

import numpy as np

from scan42_jax.data import mask_text
from scan42_jax.types import Bool, Float

_ORGANS = {
  # Name of the mask: column of the run lengths, landmarks of the organ.
  "right_lung": ("Right Lung", slice(0, 44)),
  "left_lung": ("Left Lung", slice(44, 94)),
  "heart": ("Heart", slice(94, 120)),
}
COLUMNS = (
  "Landmarks",
  *(column for column, _ in _ORGANS.values()),
  "Height",
  "Width",
)
_NUM_POINTS = 120


@dataclasses.dataclass(frozen=True, slots=True)
class Spot:
  """Where the outlines of a film have been put by.

  Attributes:
    offset: first byte in the file.
    num_bytes: how many there are.
    digest: changes with the outlines.
  """

  offset: int
  num_bytes: int
  digest: str


def put_by(cells: dict[str, str], file: BinaryIO) -> Spot:
  """Appends the outlines of a row to a file."""
  text = json.dumps([cells[name] for name in COLUMNS]).encode()
  packed = zlib.compress(text, 1)
  offset = file.tell()
  file.write(packed)
  digest = hashlib.blake2b(text, digest_size=8).hexdigest()
  return Spot(offset, len(packed), digest)


def fetch(path: pathlib.Path, spot: Spot) -> dict[str, str]:
  """Returns the cells of COLUMNS that `put_by` wrote."""
  with path.open("rb") as file:
    file.seek(spot.offset)
    texts = json.loads(zlib.decompress(file.read(spot.num_bytes)))
  return dict(zip(COLUMNS, texts, strict=True))


def organ_masks(
  cells: dict[str, str], *, height: int, width: int
) -> dict[str, Bool[np.ndarray, "H W"]]:
  """Draws the masks of a row at the size of its film.

  Run lengths count; where they are blank the landmarks are filled, and where
  these are blank, too, an organ has no mask. In some tables Height and Width
  are exchanged, and run lengths were written on that canvas, so that they are
  of no use: there, too, the landmarks are filled.

  Args:
    cells: of COLUMNS; without Height and Width those of the film count.
    height: of the film, in pixels; it may be a smaller copy.
    width: of the film, in pixels.

  Raises:
    ValueError: cells hold something else, or masks of another film.
  """
  shape = (height, width)
  grid = _grid(cells) or shape
  exchanged = grid != shape and grid == shape[::-1]
  if exchanged:
    grid = shape
  _check_same_film(grid, shape)
  points = _points(cells["Landmarks"])
  size = {"height": grid[0], "width": grid[1]}
  masks = {}
  for name, (column, part) in _ORGANS.items():
    if cells[column] and not exchanged:
      mask = mask_text.decode_runs(cells[column], **size)
    elif points is not None:
      mask = mask_text.fill_outline(points[part], **size)
    else:
      continue
    masks[name] = _shrink(mask, shape)
  return masks


def _grid(cells: dict[str, str]) -> tuple[int, int] | None:
  height, width = cells["Height"], cells["Width"]
  if not (height and width):
    return None
  try:
    return int(float(height)), int(float(width))
  except ValueError:
    raise ValueError(f"Height {height} or Width {width} is no number") from None


def _points(text: str) -> Float[np.ndarray, "120 2"] | None:
  """Reads '439,276,410,...', or NumPy's '[[439 276] [410 ...'."""
  if not text:
    return None
  try:
    numbers = np.array(re.sub(r"[\[\],]", " ", text).split(), float)
    return numbers.reshape(_NUM_POINTS, 2)
  except ValueError:
    raise ValueError(f"Landmarks are not {_NUM_POINTS} points") from None


def _check_same_film(grid: tuple[int, int], shape: tuple[int, int]) -> None:
  """Refuses masks that are neither of the film's size nor of its shape."""
  (tall, broad), (height, width) = grid, shape
  # The sides of a smaller copy were rounded to whole pixels.
  is_copy = height < tall and abs(height * broad - width * tall) <= max(grid)
  if grid != shape and not is_copy:
    raise ValueError(
      f"masks are {tall} x {broad}, the film {height} x {width}; the tables in "
      "OriginalResolution fit films of the releases"
    )


def _shrink(
  mask: Bool[np.ndarray, "h w"], shape: tuple[int, int]
) -> Bool[np.ndarray, "H W"]:
  """Takes the nearest pixels; returns a mask of that shape as it is."""
  rows, columns = (
    ((np.arange(new) + 0.5) * old / new).astype(int)
    for new, old in zip(shape, mask.shape, strict=True)
  )
  return mask if mask.shape == shape else mask[np.ix_(rows, columns)]
