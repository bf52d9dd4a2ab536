"""From one grey film to its normalised global and local crops, on the device.

This file draws the random numbers and chains the operators of image_ops, in
DINOv2's order. Reading, decoding and equalising happen before, on the host.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.data import image_ops
from scan42_jax.types import Array, Bool, Films, Float, Int, UInt8

_TRIES = 10  # Windows tried before the central one is taken.
_CHOICES = 12  # Random numbers of a crop besides those of its window.


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


@flax.struct.dataclass
class Recipe:
  """Every choice of one crop, or of N crops of a film, global ones first."""

  window: image_ops.Window
  flip: Bool[Array, "*N"]
  angle_degrees: Float[Array, "*N"]
  shift: Float[Array, "*N 2"]
  zoom: Float[Array, "*N"]
  jitter: Bool[Array, "*N"]
  contrast_first: Bool[Array, "*N"]
  brightness: Float[Array, "*N"]
  contrast: Float[Array, "*N"]
  blur: Bool[Array, "*N"]
  sigma: Float[Array, "*N"]
  solarize: Bool[Array, "*N"]


def _between(share: Array, low: Array | float, high: Array | float) -> Array:
  return low + share * (high - low)


def choose_windows(
  share: Float[Array, "4 N T"],
  height: Int[Array, ""],
  width: Int[Array, ""],
  *,
  scale: Float[Array, "2 N 1"],
  aspect: tuple[float, float],
) -> image_ops.Window:
  """Windows inside the film by the rule of torchvision's RandomResizedCrop.

  The first of the tries that fits is taken; where none does, the largest
  central window of a permitted aspect.

  Args:
    share: uniform numbers for area, aspect, top and left of every try.
    height: rows of the film.
    width: columns of the film.
    scale: smallest and largest share of the film's area.
    aspect: smallest and largest width / height.
  """
  area = _between(share[0], *scale) * (height * width)
  shape = jnp.exp(_between(share[1], *np.log(aspect)))
  wide = jnp.round(jnp.sqrt(area * shape)).astype(jnp.int32)
  high = jnp.round(jnp.sqrt(area / shape)).astype(jnp.int32)
  tried = image_ops.Window(
    top=jnp.floor(share[2] * (height - high + 1)).astype(jnp.int32),
    left=jnp.floor(share[3] * (width - wide + 1)).astype(jnp.int32),
    height=high,
    width=wide,
  )
  fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
  first = jnp.argmax(fits, axis=1, keepdims=True)
  return jax.tree.map(
    lambda tries, central: jnp.where(
      fits.any(axis=1),
      jnp.take_along_axis(tries, first, axis=1)[:, 0],
      central,
    ),
    tried,
    _central_window(height, width, aspect),
  )


def _central_window(
  height: Int[Array, ""], width: Int[Array, ""], aspect: tuple[float, float]
) -> image_ops.Window:
  wide = jnp.minimum(width, jnp.round(height * aspect[1]).astype(jnp.int32))
  high = jnp.minimum(height, jnp.round(width / aspect[0]).astype(jnp.int32))
  return image_ops.Window((height - high) // 2, (width - wide) // 2, high, wide)


def sample_recipe(
  key: Array,
  height: Int[Array, ""],
  width: Int[Array, ""],
  *,
  settings: CropSettings,
) -> Recipe:
  """Draws all choices of one film's 2 + L crops; shift is in crop sides."""
  s, local = settings, settings.num_local
  first, second, local_blur = s.blur_probability
  scale = jnp.array([s.global_scale] * 2 + [s.local_scale] * local).T
  # One flat draw: XLA compiles it many times faster than several small ones.
  crops = 2 + local
  share = jax.random.uniform(key, ((_CHOICES + 4 * _TRIES) * crops,))
  u, tries = jnp.split(share, [_CHOICES * crops])
  u = u.reshape(_CHOICES, crops)
  return Recipe(
    window=choose_windows(
      tries.reshape(4, crops, _TRIES),
      height,
      width,
      scale=scale[..., None],
      aspect=s.aspect,
    ),
    flip=u[0] < s.flip_probability,
    angle_degrees=_between(u[1], -s.affine_degrees, s.affine_degrees),
    shift=_between(u[2:4].T, -s.affine_translate, s.affine_translate),
    zoom=_between(u[4], *s.affine_zoom),
    jitter=u[5] < s.jitter_probability,
    contrast_first=u[6] < 0.5,
    brightness=_between(u[7], 1 - s.brightness, 1 + s.brightness),
    contrast=_between(u[8], 1 - s.contrast, 1 + s.contrast),
    blur=u[9] < jnp.array([first, second] + [local_blur] * local),
    sigma=_between(u[10], *s.blur_sigma),
    solarize=u[11] < jnp.array([0.0, s.solarize_probability] + [0.0] * local),
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
  """Flip, affine, jitter, blur, solarize of one crop, as the PIL chain does.

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


def _make_view(
  pixels: UInt8[Array, "S S"],
  recipe: Recipe,
  settings: CropSettings,
  *,
  size_px: int,
  affine: bool,
) -> Float[Array, "N H W C"]:
  """Makes the crops of one size from one film."""
  image = pixels.astype(jnp.float32)

  def make(one: Recipe) -> Array:
    crop = image_ops.resized_crop(image, one.window, out_px=size_px)
    crop = apply_recipe(crop, one, affine=affine)
    return image_ops.normalize(crop, settings.mean, settings.std)

  return jax.vmap(make)(recipe)


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
  s = settings

  def crop_film(pixels, height, width, index):
    sample_key = jax.random.fold_in(key, index)
    recipe = sample_recipe(sample_key, height, width, settings=s)
    first = jax.tree.map(lambda x: x[:2], recipe)
    rest = jax.tree.map(lambda x: x[2:], recipe)
    return (
      _make_view(pixels, first, s, size_px=s.global_size_px, affine=s.affine),
      _make_view(pixels, rest, s, size_px=s.local_size_px, affine=False),
    )

  return jax.vmap(crop_film)(
    films.pixels, films.height, films.width, films.index
  )
