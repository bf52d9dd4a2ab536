"""Crops made by PIL on the host, as a torchvision-style loader does: a peer.

Needs Pillow and NumPy only, to run in an interpreter that has torch.
"""

import io
import random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)


def pil_crops(
  encoded: bytes,
  *,
  global_px: int = 518,
  local_px: int = 98,
  num_local: int = 8,
) -> list[np.ndarray]:
  """Makes two global and some local crops as DINOv2's loader does."""
  film = ImageOps.equalize(Image.open(io.BytesIO(encoded)).convert("L"))
  film = film.convert("RGB")
  crops = [_crop(film, global_px, (0.32, 1.0), blur=b) for b in (1.0, 0.1)]
  return crops + [
    _crop(film, local_px, (0.05, 0.32), blur=0.5) for _ in range(num_local)
  ]


def _crop(film: Image.Image, size: int, scale, *, blur: float) -> np.ndarray:
  width, height = film.size
  area = random.uniform(*scale) * width * height
  ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
  w = min(width, round((area * ratio) ** 0.5))
  h = min(height, round((area / ratio) ** 0.5))
  left, top = random.randint(0, width - w), random.randint(0, height - h)
  crop = film.resize(
    (size, size), Image.Resampling.BICUBIC, (left, top, left + w, top + h)
  )
  if random.random() < 0.5:
    crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
  if scale[1] == 1:
    crop = crop.rotate(random.uniform(-5, 5))
  if random.random() < 0.8:
    crop = ImageEnhance.Brightness(crop).enhance(random.uniform(0.6, 1.4))
    crop = ImageEnhance.Contrast(crop).enhance(random.uniform(0.6, 1.4))
    crop = ImageEnhance.Color(crop).enhance(random.uniform(0.8, 1.2))
  if random.random() < blur:
    crop = crop.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2)))
  return (np.asarray(crop, np.float32) / 255 - _MEAN) / _STD
