"""From one grey film to its normalised global and local crops, on the device.

This file draws the random numbers and chains the operators of image_ops, in
DINOv2's order. Reading, decoding and equalising happen before, on the host.
"""

import dataclasses
from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.data import image_ops
from scan42_jax.types import Array, Bool, Films, Float, Int

_TRIES = 10  # Windows tried before the central one is taken.


@dataclasses.dataclass(frozen=True)
class CropSettings:
  """How crops are drawn; the defaults are DINOv2's multi-crop for chest films.

  Attributes:
    global_size_px: side of the two global crops.
    local_size_px: side of the local crops.
    num_local: local crops per film.
    global_scale: share of the film's area that a global crop covers.
    local_scale: the same for a local crop.
    aspect: width / height of a window before it is resized to a square.
    flip_probability: mirroring left and right.
    affine: whether global crops are turned, shifted and zoomed.
    affine_degrees: largest turn either way.
    affine_translate: largest shift as a share of the side.
    affine_zoom: smallest and largest zoom.
    jitter_probability: brightness and contrast, in random order.
    brightness: largest relative change.
    contrast: largest relative change.
    blur_probability: of the first global, second global and local crops. The
      published run had (0.0, 0.9, 0.5): its blur passed on 1 - p.
    blur_sigma: standard deviation of the blur in pixels.
    solarize_probability: of the second global crop.
    mean: of the encoder's input in [0, 1], per channel.
    std: its standard deviation, per channel.
  """

  global_size_px: int = 518
  local_size_px: int = 98
  num_local: int = 8
  global_scale: tuple[float, float] = (0.32, 1.0)
  local_scale: tuple[float, float] = (0.05, 0.32)
  aspect: tuple[float, float] = (3 / 4, 4 / 3)
  flip_probability: float = 0.5
  affine: bool = True
  affine_degrees: float = 20.0
  affine_translate: float = 0.1
  affine_zoom: tuple[float, float] = (0.8, 1.2)
  jitter_probability: float = 0.8
  brightness: float = 0.4
  contrast: float = 0.4
  blur_probability: tuple[float, float, float] = (1.0, 0.1, 0.5)
  blur_sigma: tuple[float, float] = (0.1, 2.0)
  solarize_probability: float = 0.2
  mean: tuple[float, ...] = (0.485, 0.456, 0.406)
  std: tuple[float, ...] = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class _View:
  """What sets global and local crops apart; one probability per crop."""

  size_px: int
  scale: tuple[float, float]
  affine: bool
  blur_probability: tuple[float, ...]
  solarize_probability: tuple[float, ...]


@flax.struct.dataclass
class Recipe:
  """Every choice of one crop but its window."""

  flip: Bool[Array, ""]
  angle_degrees: Float[Array, ""]
  shift: Float[Array, "2"]
  zoom: Float[Array, ""]
  jitter: Bool[Array, ""]
  contrast_first: Bool[Array, ""]
  brightness: Float[Array, ""]
  contrast: Float[Array, ""]
  blur: Bool[Array, ""]
  sigma: Float[Array, ""]
  solarize: Bool[Array, ""]


def _between(share: Array, low: float, high: float) -> Array:
  return low + share * (high - low)


def sample_window(
  key: Array,
  height: Int[Array, ""],
  width: Int[Array, ""],
  *,
  scale: tuple[float, float],
  aspect: tuple[float, float],
) -> image_ops.Window:
  """Random window inside the film, as torchvision's RandomResizedCrop.

  The first of ten tries that fits is taken; where none does, the largest
  central window of a permitted aspect.
  """
  share, shape, top, left = jax.random.uniform(key, (4, _TRIES))
  area = _between(share, *scale) * (height * width)
  shape = jnp.exp(_between(shape, *np.log(aspect)))
  wide = jnp.round(jnp.sqrt(area * shape)).astype(jnp.int32)
  high = jnp.round(jnp.sqrt(area / shape)).astype(jnp.int32)
  fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
  first = jnp.argmax(fits)
  tried = image_ops.Window(
    top=jnp.floor(top * (height - high + 1)).astype(jnp.int32)[first],
    left=jnp.floor(left * (width - wide + 1)).astype(jnp.int32)[first],
    height=high[first],
    width=wide[first],
  )
  central = _central_window(height, width, aspect)
  return jax.tree.map(partial(jnp.where, fits.any()), tried, central)


def _central_window(
  height: Int[Array, ""], width: Int[Array, ""], aspect: tuple[float, float]
) -> image_ops.Window:
  wide = jnp.minimum(width, jnp.round(height * aspect[1]).astype(jnp.int32))
  high = jnp.minimum(height, jnp.round(width / aspect[0]).astype(jnp.int32))
  return image_ops.Window((height - high) // 2, (width - wide) // 2, high, wide)


def sample_recipe(
  key: Array,
  settings: CropSettings,
  *,
  blur_probability: Float[Array, ""] | float,
  solarize_probability: Float[Array, ""] | float,
) -> Recipe:
  """Draws all choices of one crop but its window; shift is in crop sides."""
  s = settings
  u = jax.random.uniform(key, (12,))
  return Recipe(
    flip=u[0] < s.flip_probability,
    angle_degrees=_between(u[1], -s.affine_degrees, s.affine_degrees),
    shift=_between(u[2:4], -s.affine_translate, s.affine_translate),
    zoom=_between(u[4], *s.affine_zoom),
    jitter=u[5] < s.jitter_probability,
    contrast_first=u[6] < 0.5,
    brightness=_between(u[7], 1 - s.brightness, 1 + s.brightness),
    contrast=_between(u[8], 1 - s.contrast, 1 + s.contrast),
    blur=u[9] < blur_probability,
    sigma=_between(u[10], *s.blur_sigma),
    solarize=u[11] < solarize_probability,
  )


def _jitter(image: Float[Array, "H W"], recipe: Recipe) -> Array:
  for is_contrast in (recipe.contrast_first, ~recipe.contrast_first):
    base = jnp.where(is_contrast, image_ops.mean_level(image), 0.0)
    factor = jnp.where(is_contrast, recipe.contrast, recipe.brightness)
    image = image_ops.blend(image, base, factor)
  return image


def apply_recipe(
  image: Float[Array, "H W"], recipe: Recipe, *, affine: bool
) -> Float[Array, "H W"]:
  """Flip, affine, jitter, blur, solarize: the order of the PIL chain.

  Every operator is computed and then chosen: under vmap a branch would compute
  both sides all the same.
  """
  image = jnp.where(recipe.flip, image_ops.horizontal_flip(image), image)
  if affine:
    right, down = jnp.round(recipe.shift * image.shape[0])
    image = image_ops.affine(
      image,
      angle_degrees=recipe.angle_degrees,
      shift_px=(right, down),
      zoom=recipe.zoom,
    )
  image = jnp.where(recipe.jitter, _jitter(image, recipe), image)
  blurred = image_ops.gaussian_blur(image, recipe.sigma)
  image = jnp.where(recipe.blur, blurred, image)
  return jnp.where(recipe.solarize, image_ops.solarize(image), image)


def _make_view(films: Films, keys: Array, *, view: _View, settings) -> Array:
  """One view's crops of one film (of `films` without its leading axis)."""
  image = films.pixels.astype(jnp.float32)

  def make(key, blur_probability, solarize_probability):
    window_key, recipe_key = jax.random.split(key)
    window = sample_window(
      window_key,
      films.height,
      films.width,
      scale=view.scale,
      aspect=settings.aspect,
    )
    recipe = sample_recipe(
      recipe_key,
      settings,
      blur_probability=blur_probability,
      solarize_probability=solarize_probability,
    )
    crop = image_ops.resized_crop(image, window, out_px=view.size_px)
    crop = apply_recipe(crop, recipe, affine=view.affine)
    return image_ops.normalize(crop, settings.mean, settings.std)

  return jax.vmap(make)(
    keys,
    jnp.asarray(view.blur_probability),
    jnp.asarray(view.solarize_probability),
  )


def _views(s: CropSettings) -> tuple[_View, _View]:
  first, second, local = s.blur_probability
  return (
    _View(
      size_px=s.global_size_px,
      scale=s.global_scale,
      affine=s.affine,
      blur_probability=(first, second),
      solarize_probability=(0.0, s.solarize_probability),
    ),
    _View(
      size_px=s.local_size_px,
      scale=s.local_scale,
      affine=False,
      blur_probability=(local,) * s.num_local,
      solarize_probability=(0.0,) * s.num_local,
    ),
  )


def make_crops(
  films: Films, key: Array, settings: CropSettings
) -> tuple[Float[Array, "B G H W C"], Float[Array, "B L h w C"]]:
  """Draws and makes the crops of a batch of films.

  A film's crops depend on the key, its index and its pixels alone: not on the
  batch, the place in it, or the number of devices.

  Args:
    films: grey films on a fixed canvas.
    key: key of the run; not the one that masks are drawn with.
    settings: how to draw.

  Returns:
    Two global crops and `num_local` local crops per film, normalised.
  """
  views = _views(settings)

  def crop_film(film):
    keys = jax.random.split(
      jax.random.fold_in(key, film.index), 2 + settings.num_local
    )
    return tuple(
      _make_view(film, part, view=view, settings=settings)
      for view, part in zip(views, (keys[:2], keys[2:]), strict=True)
    )

  return jax.vmap(crop_film)(films)
