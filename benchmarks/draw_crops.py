"""Draws what the encoder is shown: films, their crops, and masks.

  python -m benchmarks.draw_crops --data_dir=D --dataset=folder --output=X.png

One row a film: the film itself, two global crops with masked patches
tinted, eight local crops. The picture shows films; mind their terms of use.
"""

import itertools

import jax
import numpy as np
from absl import app, flags, logging
from PIL import Image

from scan42_jax.config import default_config, from_config
from scan42_jax.data.batches import make_batch
from scan42_jax.data.pipeline import evaluation_films
from scan42_jax.data.sources import open_films

_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Prepared data.", required=True
)
_DATASET = flags.DEFINE_string("dataset", "folder", "Its name.")
_SPLIT = flags.DEFINE_string("split", "train", "Its split.")
_FILMS = flags.DEFINE_integer("films", 4, "Rows of the picture.")
_EQUALIZE = flags.DEFINE_bool("equalize", True, "Equalise histograms.")
_OUTPUT = flags.DEFINE_string("output", None, "PNG file.", required=True)

_TILE_PX = 180


def main(argv: list[str]) -> None:
  """Draws the first films of a split with the settings of configs/vitb.py."""
  del argv
  logging.set_verbosity(logging.WARNING)
  config = default_config()
  config.batch_size = config.masks.group_images = _FILMS.value
  config.objective.koleo_group = _FILMS.value
  settings = from_config(config)
  batches = evaluation_films(
    open_films(_DATA_DIR.value, _DATASET.value, _SPLIT.value),
    canvas_px=settings.data.canvas_px,
    equalize=_EQUALIZE.value,
    batch_size=_FILMS.value,
  )
  films, _ = next(itertools.islice(batches, 1))
  batch = jax.jit(
    lambda f: make_batch(
      f,
      jax.random.key(settings.seed),
      crops=settings.crops,
      masks=settings.masks,
      patch_size=settings.model.patch_size,
    )
  )(films)
  rows = [_row(film, batch, i, settings) for i, film in enumerate(films.pixels)]
  Image.fromarray(np.concatenate(rows)).save(_OUTPUT.value)


def _row(film, batch, i, settings):
  """Film, global crops, local crops of one film, side by side."""
  masks = np.asarray(batch.patch_mask[i]).reshape(2, *settings.grid)
  tiles = [_tile(np.repeat(film[..., None], 3, -1))]
  for crop, mask in zip(batch.global_crops[i], masks, strict=True):
    pixels = _denormalize(crop, settings)
    patch = np.ones((settings.model.patch_size,) * 2, bool)
    covered = np.kron(mask, patch)[..., None]
    tint = pixels * 0.5 + np.array([200, 60, 0]) * 0.5
    tiles.append(_tile(np.where(covered, tint, pixels)))
  tiles += [_tile(_denormalize(c, settings)) for c in batch.local_crops[i]]
  return np.concatenate(tiles, axis=1)


def _denormalize(crop, settings):
  mean, std = np.array(settings.crops.mean), np.array(settings.crops.std)
  return np.clip((np.asarray(crop) * std + mean) * 255, 0, 255)


def _tile(pixels):
  image = Image.fromarray(pixels.astype(np.uint8)).resize((_TILE_PX,) * 2)
  return np.pad(np.asarray(image), ((2, 2), (2, 2), (0, 0)))


if __name__ == "__main__":
  app.run(main)
