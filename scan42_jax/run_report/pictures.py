"""Draws films of a run: what the student sees, what the teacher makes of it.

Only films that the config asks for; see `loop.report_films`.
"""

from __future__ import annotations

import functools
import io

import jax
import numpy as np
from PIL import Image

from scan42_jax.data.crops import make_crops
from scan42_jax.data.masking import make_masks
from scan42_jax.pictures.maps import FOREGROUND_GREY, Components, block_means
from scan42_jax.settings import Settings
from scan42_jax.types import Films, Float, UInt8

_TILE_PX = 150
_GAP_PX = 3
_TINT = np.array([200, 60, 0])


def draw_crops(films: Films, settings: Settings, *, count: int) -> bytes:
  """Draws the crops that training makes of the first films of a batch.

  Args:
    films: of a step, on the host.
    settings: of the run.
    count: films to draw.

  Returns:
    A PNG, one row a film: two global crops, masked patches tinted, and the
    local crops.
  """
  globals_, locals_, masks = jax.device_get(_crops(films, settings, count))
  rows = []
  for i in range(len(globals_)):
    tiles = [
      _tinted(_grey_levels(crop, settings), mask.reshape(settings.grid))
      for crop, mask in zip(globals_[i], masks[i], strict=True)
    ]
    tiles += [_grey_levels(crop, settings) for crop in locals_[i]]
    rows.append(np.concatenate([_tile(tile) for tile in tiles], axis=1))
  return _png(np.concatenate(rows))


def draw_components(
  pixels: UInt8[np.ndarray, "N s s"], patches: Float[np.ndarray, "N h w D"]
) -> bytes:
  """Draws films and, below each, the components of its patches as colours.

  Returns:
    A PNG, one column a film.
  """
  rows, columns, width = patches.shape[1:]
  foreground = np.stack(
    [block_means(film, rows, columns) >= FOREGROUND_GREY for film in pixels]
  )
  components = Components(patches.reshape(-1, width), foreground.ravel())
  columns_of_tiles = []
  for film, tokens, body in zip(pixels, patches, foreground, strict=True):
    grey = np.repeat(film[..., None], 3, axis=-1)
    colours = components.colours(tokens, body)
    columns_of_tiles.append(
      np.concatenate([_tile(grey), _tile(colours, smooth=False)])
    )
  return _png(np.concatenate(columns_of_tiles, axis=1))


def _crops(films: Films, settings: Settings, count: int):
  """Crops of the first films, and masks of their global crops.

  Masks come in groups of films; crops of a film depend on that film alone.
  """
  few = jax.tree.map(lambda x: np.asarray(x[:count]), films)
  group = settings.masks.group_images
  index = np.resize(films.index, max(group, len(films.index) // group * group))

  @functools.partial(jax.jit, static_argnums=2)
  def make(films, index, settings):
    crop_key, mask_key = jax.random.split(jax.random.key(settings.seed))
    masks, _, _ = make_masks(
      mask_key, index, grid=settings.grid, settings=settings.masks
    )
    return *make_crops(films, crop_key, settings.crops), masks[:count]

  with jax.default_device(jax.local_devices()[0]):
    return make(few, index, settings)


def _grey_levels(crop: np.ndarray, settings: Settings) -> np.ndarray:
  mean, std = np.array(settings.crops.mean), np.array(settings.crops.std)
  return np.clip((crop * std + mean) * 255, 0, 255)


def _tinted(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
  side = pixels.shape[0] // mask.shape[0]
  covered = np.kron(mask, np.ones((side, side), bool))[..., None]
  return np.where(covered, (pixels + _TINT) / 2, pixels)


def _tile(pixels: np.ndarray, *, smooth: bool = True) -> np.ndarray:
  picture = Image.fromarray(pixels.astype(np.uint8))
  how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
  tile = np.asarray(picture.resize((_TILE_PX, _TILE_PX), how))
  return np.pad(tile, ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=128)


def _png(pixels: np.ndarray) -> bytes:
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, "PNG")
  return stream.getvalue()
