"""One varied view of each training film, made on the device."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from scan42_jax.data import image_ops
from scan42_jax.data.crops import CropSettings, apply_recipe, sample_recipe
from scan42_jax.types import Array, Films, Float


def augmented_views(
  films: Films, key: Array, settings: CropSettings
) -> Float[Array, "B H W C"]:
  """Draws and makes a view of each film, standardised.

  A view depends on the key, the film's index and its pixels alone.

  Args:
    films: grey films on a fixed canvas.
    key: of the run.
    settings: how to draw; the first global crop is the view.
  """
  s = settings

  def view(pixels, height, width, index):
    drawn = sample_recipe(
      jax.random.fold_in(key, index), height, width, settings=s
    )
    recipe = jax.tree.map(lambda x: x[0], drawn)
    crop = image_ops.resized_crop(
      pixels.astype(jnp.float32), recipe.window, out_px=s.global_size_px
    )
    crop = apply_recipe(crop, recipe, affine=s.affine)
    return image_ops.normalize(crop, s.mean, s.std)

  return jax.vmap(view)(films.pixels, films.height, films.width, films.index)
