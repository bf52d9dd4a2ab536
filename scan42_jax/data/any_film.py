"""Films in whatever form a user holds them, as grey pictures of any size.

Files are read by images.py; here are pictures and arrays, and the resize of
Pillow, which the processors of released encoders use.
"""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from scan42_jax.data.film import RejectedFilm, check_size, to_uint8
from scan42_jax.data.images import read_film

AnyFilm = str | os.PathLike | Image.Image | np.ndarray
"""A file's path, a picture, or an array [H, W] or [H, W, 3]."""

_DEEP_MODES = ("I", "F")  # Of more than 8 bits: Pillow's "L" would clip them.


def is_film(candidate: object) -> bool:
  """Tells one film from a list of films."""
  if isinstance(candidate, str | os.PathLike | Image.Image):
    return True
  return getattr(candidate, "ndim", 0) >= 2  # Also arrays of other libraries.


def grey_film(film: AnyFilm) -> np.ndarray:
  """Returns a film's grey levels.

  uint8 keeps its values; any other number is scaled from the film's
  minimum..maximum to 0..255. Colour becomes luminance, transparency is ignored.

  Args:
    film: bones bright; a DICOM file is rendered as its header asks.

  Returns:
    uint8 [H, W].

  Raises:
    RejectedFilm: it gives no film.
  """
  if isinstance(film, str | os.PathLike):
    return read_film(film).pixels
  if isinstance(film, Image.Image):
    deep = film.mode.startswith(_DEEP_MODES)
    film = film if deep else film.convert("L")
  return _grey_array(np.asarray(film))


def resize(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Resizes uint8 [H, W] to (height, width): bicubic, antialiased."""
  if pixels.shape == shape:
    return pixels
  picture = Image.fromarray(pixels)
  return np.asarray(picture.resize(shape[::-1], Image.Resampling.BICUBIC))


def _grey_array(values: np.ndarray) -> np.ndarray:
  if values.ndim not in (2, 3) or values.shape[2:] not in ((), (1,), (3,)):
    raise RejectedFilm(
      f"shape {values.shape} is neither [H, W] nor [H, W, 3]; give several"
      " films as a list"
    )
  check_size(*values.shape[:2])
  if values.dtype.kind not in "uif":
    raise RejectedFilm(f"numbers of type {values.dtype} are no grey levels")
  if values.dtype != np.uint8:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
      raise RejectedFilm("it holds NaN or Inf")
    values = to_uint8(values, low=low, high=high)
  if values.ndim == 2:
    return values
  if values.shape[2] == 1:
    return values[..., 0]
  return np.asarray(Image.fromarray(values).convert("L"))
