"""Drawing board of the phantom films: coordinates, soft edges, smooth noise.

Everything is drawn in body coordinates, in which the chest fills about -1..1
and x grows to the right of the picture (towards the patient's left). It knows
nothing of anatomy or findings.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from scan42_jax.types import Float


@dataclasses.dataclass(frozen=True)
class Pose:
  """How the body lies on the film.

  Attributes:
    shift_x: of the body, in half sides of the film, to the right.
    shift_y: of the body, in half sides of the film, downwards.
    angle: rotation in radians.
    scale: half sides of the film that one body unit takes.
    stretch: height of the body over its width, 1 for none.
  """

  shift_x: float
  shift_y: float
  angle: float
  scale: float
  stretch: float


@dataclasses.dataclass(frozen=True)
class Canvas:
  """Body coordinates of every pixel.

  Attributes:
    x: body coordinate to the right of the picture.
    y: body coordinate downwards.
    pixel: side of a pixel in body units.
  """

  x: Float[np.ndarray, "H W"]
  y: Float[np.ndarray, "H W"]
  pixel: float

  @property
  def shape(self) -> tuple[int, int]:
    """Height and width in pixels."""
    return self.x.shape


def make_canvas(height_px: int, width_px: int, *, pose: Pose) -> Canvas:
  """Lays body coordinates over a film of the given size."""
  half = min(height_px, width_px) / 2
  v = (np.arange(height_px, dtype=np.float32)[:, None] + 0.5) / half
  u = (np.arange(width_px, dtype=np.float32)[None, :] + 0.5) / half
  v = v - np.float32(height_px / 2 / half + pose.shift_y)
  u = u - np.float32(width_px / 2 / half + pose.shift_x)
  cos, sin = np.cos(pose.angle), np.sin(pose.angle)
  x = (u * np.float32(cos) + v * np.float32(sin)) / np.float32(pose.scale)
  y = v * np.float32(cos) - u * np.float32(sin)
  y = y / np.float32(pose.scale * pose.stretch)
  return Canvas(x=x, y=y, pixel=1 / half / pose.scale)


def soft_step(
  distance: Float[np.ndarray, "..."], width: float
) -> Float[np.ndarray, "..."]:
  """0 where `distance` is negative, 1 where positive, a ramp between."""
  return np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)


def disc(
  canvas: Canvas,
  centre: tuple[float, float],
  *,
  radii: tuple[float, float],
  angle: float = 0.0,
  edge: float = 0.02,
) -> Float[np.ndarray, "H W"]:
  """1 inside a tilted ellipse, 0 outside, with an edge of the given width."""
  dx, dy = canvas.x - np.float32(centre[0]), canvas.y - np.float32(centre[1])
  cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
  along = (dx * cos + dy * sin) * np.float32(1 / radii[0])
  across = (dy * cos - dx * sin) * np.float32(1 / radii[1])
  inside = 1 - np.sqrt(along * along + across * across)
  return soft_step(inside * np.float32(min(radii)), max(edge, canvas.pixel))


def stroke(
  distance: Float[np.ndarray, "H W"], half_width: float, *, pixel: float
) -> Float[np.ndarray, "H W"]:
  """1 within `half_width` of a line given by its distance, one pixel soft."""
  return soft_step(half_width - np.abs(distance), pixel)


def path_distance(
  canvas: Canvas, points: Float[np.ndarray, "K 2"]
) -> Float[np.ndarray, "H W"]:
  """Distance to a chain of straight pieces, in body units."""
  nearest = np.full(canvas.shape, 9.0, np.float32)
  for start, end in itertools.pairwise(points):
    span = (end - start).astype(np.float32)
    dx, dy = canvas.x - np.float32(start[0]), canvas.y - np.float32(start[1])
    along = (dx * span[0] + dy * span[1]) / np.float32(span @ span + 1e-9)
    along = np.clip(along, 0, 1)
    gap = np.square(dx - along * span[0]) + np.square(dy - along * span[1])
    nearest = np.minimum(nearest, gap)
  return np.sqrt(nearest)


def smooth_noise(
  rng: np.random.Generator, canvas: Canvas, *, wavelength: float
) -> Float[np.ndarray, "H W"]:
  """Noise of mean 0 and deviation about 0.6 that varies over `wavelength`.

  The grid of random values depends on the wavelength in body units alone, so
  a film has the same pattern at every size in pixels.
  """
  rows, columns = (
    max(2, round(size * canvas.pixel / wavelength) + 1) for size in canvas.shape
  )
  grid = rng.standard_normal((rows, columns), dtype=np.float32)
  return _stretch(_stretch(grid, canvas.shape[0]).T, canvas.shape[1]).T


def _stretch(
  grid: Float[np.ndarray, "k m"], size_px: int
) -> Float[np.ndarray, "n m"]:
  """Rows interpolated smoothly; by index, as small products start threads."""
  place = np.linspace(0, len(grid) - 1, size_px, dtype=np.float32)
  below = np.minimum(place.astype(int), len(grid) - 2)
  share = (place - below)[:, None]
  share = share * share * (3 - 2 * share)
  return grid[below] + share * (grid[below + 1] - grid[below])


def blur(
  image: Float[np.ndarray, "H W"], sigma_px: float
) -> Float[np.ndarray, "H W"]:
  """Gaussian blur; the border is repeated outwards."""
  if sigma_px < 0.2:
    return image
  reach = int(np.ceil(3 * sigma_px))
  taps = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma_px))
  taps = (taps / taps.sum()).astype(np.float32)
  for _ in range(2):
    padded = np.pad(image, ((reach, reach), (0, 0)), mode="edge")
    image = sum(
      tap * padded[shift : shift + len(image)] for shift, tap in enumerate(taps)
    ).T
  return image
