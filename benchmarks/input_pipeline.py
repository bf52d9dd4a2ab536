"""Films delivered to the device for one core, beside crops made by PIL.

  python -m benchmarks.input_pipeline --data_dir=DIR --dataset=NAME

Ours reads, decodes, equalises and places a film; its crops are the device's
work and are timed by pretrain_step.py. The peer does what a torchvision-style
loader does with the same stored JPEG: decodes to RGB and makes 2 + 8 crops on
the host. Both take turns on one thread; medians and the ratio are JSON.
"""

import io
import json
import random
import statistics
import time

import jax
import numpy as np
from absl import app, flags, logging
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from scan42_jax.data import pipeline

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Data.", required=True)
_DATASET = flags.DEFINE_string("dataset", None, "Its name.", required=True)
_CANVAS_PX = flags.DEFINE_integer("canvas_px", 1280, "Side of the canvas.")
_FILMS = flags.DEFINE_integer("films", 32, "Films of a round.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds of each.")

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)


def pil_crops(encoded: bytes) -> list[np.ndarray]:
  """Makes two global and eight local crops as DINOv2's loader does."""
  film = ImageOps.equalize(Image.open(io.BytesIO(encoded)).convert("L"))
  film = film.convert("RGB")
  crops = [_crop(film, 518, (0.32, 1.0), blur=b) for b in (1.0, 0.1)]
  return crops + [_crop(film, 98, (0.05, 0.32), blur=0.5) for _ in range(8)]


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
  if size > 200:
    crop = crop.rotate(random.uniform(-5, 5))
  if random.random() < 0.8:
    crop = ImageEnhance.Brightness(crop).enhance(random.uniform(0.6, 1.4))
    crop = ImageEnhance.Contrast(crop).enhance(random.uniform(0.6, 1.4))
    crop = ImageEnhance.Color(crop).enhance(random.uniform(0.8, 1.2))
  if random.random() < blur:
    crop = crop.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2)))
  return (np.asarray(crop, np.float32) / 255 - _MEAN) / _STD


def main(argv: list[str]) -> None:
  """Times both and prints one JSON object."""
  del argv
  logging.set_verbosity(logging.WARNING)
  source = pipeline.open_films(_DATA_DIR.value, _DATASET.value, "train")
  films = pipeline.training_films(
    [source],
    canvas_px=_CANVAS_PX.value,
    batch_size=_FILMS.value,
    seed=0,
    equalize=True,
    num_threads=0,
  )
  stored = [source[i % len(source)]["image"] for i in range(_FILMS.value)]

  def ours() -> None:
    jax.block_until_ready(jax.device_put(next(films)))

  def peer() -> None:
    for encoded in stored:
      pil_crops(encoded)

  ours(), pil_crops(stored[0])
  times = {"ours": [], "pil": []}
  for _ in range(_ROUNDS.value):
    for name, function in (("ours", ours), ("pil", peer)):
      start = time.perf_counter()
      function()
      times[name].append((time.perf_counter() - start) / _FILMS.value)
  films.close()
  medians = {name: statistics.median(values) for name, values in times.items()}
  print(
    json.dumps(
      {
        "ours_ms_per_film": round(1e3 * medians["ours"], 2),
        "ours_films_per_second_and_core": round(1 / medians["ours"], 1),
        "pil_ms_per_film": round(1e3 * medians["pil"], 2),
        "ratio": round(medians["pil"] / medians["ours"], 1),
      }
    )
  )


if __name__ == "__main__":
  app.run(main)
