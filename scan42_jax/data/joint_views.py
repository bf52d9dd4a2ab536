"""A film and its label map varied together, on the device.

Both go through one map from the view's pixels to the film's, made from one
draw: the film is read between its pixels, the labels at the nearest one. A
mirrored chest has its sides exchanged, so labels of sides are exchanged too.
"""

from __future__ import annotations

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from scan42_jax.data import image_ops
from scan42_jax.types import Array, Bool, Float, Int, UInt8

_CHOICES = 10


@dataclasses.dataclass(frozen=True)
class JointViewSettings:
  """How views are drawn.

  Attributes:
    flip_probability: mirroring left and right.
    affine_probability: turning, shifting and zooming.
    degrees: largest turn either way.
    translate: smallest and largest shift to the right, and down, as a share of
      the side. The published run always shifted by 0.1 where it meant -0.1 to
      0.1.
    zoom: smallest and largest zoom, drawn for each axis by itself.
    jitter_probability: brightness, then contrast.
    brightness: largest relative change.
    contrast: largest relative change.
  """

  flip_probability: float = 0.5
  affine_probability: float = 0.5
  degrees: float = 10.0
  translate: tuple[float, float] = (-0.1, 0.1)
  zoom: tuple[float, float] = (0.75, 1.25)
  jitter_probability: float = 0.5
  brightness: float = 0.2
  contrast: float = 0.2


@flax.struct.dataclass
class JointRecipe:
  """Every choice of one view; see JointViewSettings."""

  flip: Bool[Array, "*N"]
  angle_degrees: Float[Array, "*N"]
  shift: Float[Array, "*N 2"]
  zoom: Float[Array, "*N 2"]
  brightness: Float[Array, "*N"]
  contrast: Float[Array, "*N"]


def sample_joint_recipe(key: Array, settings: JointViewSettings) -> JointRecipe:
  """Draws all choices of one view."""
  s, u = settings, jax.random.uniform(key, (_CHOICES,))

  def between(share: Array, low: float, high: float) -> Array:
    return low + share * (high - low)

  moved, varied = u[1] < s.affine_probability, u[7] < s.jitter_probability
  return JointRecipe(
    flip=u[0] < s.flip_probability,
    angle_degrees=jnp.where(moved, between(u[2], -s.degrees, s.degrees), 0.0),
    shift=jnp.where(moved, between(u[3:5], *s.translate), 0.0),
    zoom=jnp.where(moved, between(u[5:7], *s.zoom), 1.0),
    brightness=jnp.where(
      varied, between(u[8], 1 - s.brightness, 1 + s.brightness), 1.0
    ),
    contrast=jnp.where(
      varied, between(u[9], 1 - s.contrast, 1 + s.contrast), 1.0
    ),
  )


def apply_joint_recipe(
  pixels: UInt8[Array, "s s"],
  labels: UInt8[Array, "s s"],
  recipe: JointRecipe,
  *,
  mirrored: Int[Array, "K"],
) -> tuple[Float[Array, "s s"], Int[Array, "s s"]]:
  """Makes one view; what lies beyond the film is black and background.

  Args:
    pixels: grey film.
    labels: class of each of its pixels.
    recipe: of the view.
    mirrored: class that each class becomes in a mirror.

  Returns:
    Grey levels 0..255, and classes.
  """
  rows, columns = _places(recipe, pixels.shape[0])
  image = map_coordinates(
    pixels.astype(jnp.float32), [rows, columns], order=1, mode="constant"
  )
  image = image_ops.brightness(jnp.round(image), recipe.brightness)
  image = image_ops.contrast(image, recipe.contrast)
  found = map_coordinates(
    labels.astype(jnp.int32), [rows, columns], order=0, mode="constant"
  )
  return image, jnp.where(recipe.flip, mirrored[found], found)


def _places(
  recipe: JointRecipe, side: int
) -> tuple[Float[Array, "s s"], Float[Array, "s s"]]:
  """Row and column of the film that each pixel of the view shows.

  A view is the film mirrored, zoomed, turned clockwise about its centre, then
  shifted; this is the way back.
  """
  centre = (side - 1) / 2
  right, down = recipe.shift * side
  x = jnp.arange(side, dtype=jnp.float32)[None, :] - centre - right
  y = jnp.arange(side, dtype=jnp.float32)[:, None] - centre - down
  angle = jnp.deg2rad(recipe.angle_degrees)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  columns = (cos * x + sin * y) / recipe.zoom[0]
  rows = (cos * y - sin * x) / recipe.zoom[1]
  columns = jnp.where(recipe.flip, -columns, columns)
  return rows + centre, columns + centre


def joint_views(
  pixels: UInt8[Array, "B s s"],
  labels: UInt8[Array, "B s s"],
  index: Int[Array, "B"],
  *,
  key: Array,
  settings: JointViewSettings,
  mirrored: Int[Array, "K"],
) -> tuple[Float[Array, "B s s"], Int[Array, "B s s"]]:
  """Draws and makes a view of each film with its labels.

  A view depends on the key, the film's index, its pixels and labels alone.

  Args:
    pixels: grey films.
    labels: class of each pixel.
    index: place of each film in the training stream.
    key: of the run.
    settings: how to draw.
    mirrored: class that each class becomes in a mirror.
  """

  def view(film, classes, place):
    recipe = sample_joint_recipe(jax.random.fold_in(key, place), settings)
    return apply_joint_recipe(film, classes, recipe, mirrored=mirrored)

  return jax.vmap(view)(pixels, labels, index)
