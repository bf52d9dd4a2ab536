"""Films to a training batch, on the device: crops, then masks."""

from __future__ import annotations

import jax

from scan42_jax.data.crops import CropSettings, make_crops
from scan42_jax.data.masking import MaskSettings, make_masks
from scan42_jax.types import Array, Batch, Films


def make_batch(
  films: Films,
  key: Array,
  *,
  crops: CropSettings,
  masks: MaskSettings,
  patch_size: int,
) -> Batch:
  """Draws crops and masks; every random number follows from a film's index.

  Args:
    films: whole mask groups of neighbours in the training stream.
    key: of the run.
    crops: how to crop.
    masks: how to mask.
    patch_size: side of a patch of the encoder, pixels.
  """
  crop_key, mask_key = jax.random.split(key)
  global_crops, local_crops = make_crops(films, crop_key, crops)
  side = crops.global_size_px // patch_size
  patch_mask, mask_index, mask_weight = make_masks(
    mask_key, films.index, grid=(side, side), settings=masks
  )
  return Batch(
    global_crops=global_crops,
    local_crops=local_crops,
    patch_mask=patch_mask,
    mask_index=mask_index,
    mask_weight=mask_weight,
  )
