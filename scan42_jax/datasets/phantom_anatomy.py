"""Normal chest of a phantom film: soft tissue, lungs, heart, bones.

Densities are attenuations in arbitrary units: 0 is air, about 0.6 soft tissue,
about 1 bone or heart over spine. Findings and exposure are drawn elsewhere.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from scan42_jax.datasets import phantom_canvas as draw
from scan42_jax.types import Float

LUNG_DEPTH = 0.40
"""Attenuation that a healthy lung lacks compared with soft tissue."""


@dataclasses.dataclass(frozen=True)
class Habitus:
  """Build of one patient, the same on all of the patient's films.

  Attributes:
    sex: "F" or "M".
    lung_width: half width of a lung, in body units.
    lung_height: half height of a lung before the diaphragm cuts it.
    heart_width: half of the long axis of a heart of normal size.
    rib_gap: distance of neighbouring ribs, in body units.
    bone: attenuation of the ribs.
    fat: extra attenuation of soft tissue.
  """

  sex: str
  lung_width: float
  lung_height: float
  heart_width: float
  rib_gap: float
  bone: float
  fat: float


@dataclasses.dataclass(frozen=True)
class Lung:
  """One lung (on a lateral film: both, one behind the other).

  Attributes:
    side: "left" or "right" of the patient.
    field: 1 inside, 0 outside, soft at the edge.
    outward: place across the lung, -1 medial edge, 1 lateral edge.
    down: place along the lung, -1 apex; the diaphragm lies near 0.6.
    width: half width in body units.
    height: half height in body units.
    sign: of `outward` along x.
    axis: distance of the long axis from the midline, and its lean with `down`.
  """

  side: str
  field: Float[np.ndarray, "H W"]
  outward: Float[np.ndarray, "H W"]
  down: Float[np.ndarray, "H W"]
  width: float
  height: float
  sign: float
  axis: tuple[float, float]

  def point(self, outward: float, down: float) -> tuple[float, float]:
    """Body coordinates of a place in the lung."""
    across = self.axis[0] + self.axis[1] * down + outward * self.width
    return self.sign * across, _LUNG_CENTRE_Y + down * self.height


@dataclasses.dataclass(frozen=True)
class Chest:
  """Healthy chest and the places that findings refer to.

  Attributes:
    density: attenuation without findings.
    lungs: by side; a lateral film has the same lung twice.
    heart: 1 inside, 0 outside.
    body: 1 inside the body, 0 in the air around it.
  """

  density: Float[np.ndarray, "H W"]
  lungs: dict[str, Lung]
  heart: Float[np.ndarray, "H W"]
  body: Float[np.ndarray, "H W"]


_LUNG_CENTRE_Y = 0.02
# The apex of a lung lies nearer to the midline than its base.
_FRONTAL_AXIS = (0.40, 0.07)
_LATERAL_AXIS = (0.0, -0.10)


def sample_habitus(rng: np.random.Generator, *, sex: str) -> Habitus:
  """Draws the build of a patient."""
  return Habitus(
    sex=sex,
    lung_width=rng.uniform(0.25, 0.35),
    lung_height=rng.uniform(0.68, 0.90),
    heart_width=rng.uniform(0.24, 0.30),
    rib_gap=rng.uniform(0.13, 0.17),
    bone=rng.uniform(0.04, 0.10),
    fat=rng.uniform(-0.05, 0.12),
  )


def _body(canvas: draw.Canvas, habitus: Habitus) -> Float[np.ndarray, "H W"]:
  """Neck, shoulders and trunk."""
  trunk = np.float32(0.60 + habitus.lung_width * 0.75)
  slope = np.clip((canvas.y + np.float32(1.02)) * np.float32(2.4), 0, 1)
  armpit = np.clip((canvas.y + np.float32(0.45)) * np.float32(3.0), 0, 1)
  edge = np.float32(0.2) + np.float32(0.82) * np.sqrt(slope)
  edge = edge + (trunk - np.float32(1.02)) * armpit
  return draw.soft_step(edge - np.abs(canvas.x), 0.05)


def _lung(
  canvas: draw.Canvas, habitus: Habitus, *, side: str, breath: float
) -> Lung:
  sign = 1.0 if side == "left" else -1.0
  down = (canvas.y - np.float32(_LUNG_CENTRE_Y)) / np.float32(
    habitus.lung_height
  )
  axis = np.float32(_FRONTAL_AXIS[0]) + np.float32(_FRONTAL_AXIS[1]) * down
  across = canvas.x * np.float32(sign) - axis
  outward = across / np.float32(habitus.lung_width)
  level = 1 - outward * outward - np.abs(down) * down * down
  field = draw.soft_step(level * np.float32(habitus.lung_width / 2), 0.03)
  dome = breath + (0.05 if side == "left" else 0.0)
  floor = np.float32(dome) + np.float32(0.13) * np.square(outward + 0.25)
  field = field * draw.soft_step(floor - canvas.y, 0.025)
  return Lung(
    side=side,
    field=field,
    outward=outward,
    down=down,
    width=habitus.lung_width,
    height=habitus.lung_height,
    sign=sign,
    axis=_FRONTAL_AXIS,
  )


def _ribs(
  canvas: draw.Canvas, rng: np.random.Generator, *, gap: float
) -> Float[np.ndarray, "H W"]:
  """Posterior and anterior ribs as two families of bent stripes."""
  across = np.abs(canvas.x) + np.float32(rng.uniform(-0.03, 0.03)) * canvas.x
  square = across * across
  shifts = rng.uniform(0, 1, 2)
  back = (canvas.y - 0.55 * square + 0.10 * across) * np.float32(1 / gap)
  front = (canvas.y - 0.75 * across + 0.15 * square) * np.float32(0.8 / gap)
  turn = np.float32(2 * np.pi)
  back = np.cos(turn * (back + np.float32(shifts[0])))
  front = np.cos(turn * (front + np.float32(shifts[1])))
  rim = np.clip(1 - 4 * np.abs(back - 0.25), 0, 1)
  back = draw.soft_step(back - 0.2, 0.5) + np.float32(0.5) * rim
  front = draw.soft_step(front - 0.35, 0.6) * (across > 0.28)
  cage = draw.soft_step(np.float32(0.80) - across, 0.05)
  cage = cage * draw.soft_step(canvas.y + 0.85, 0.1)
  cage = cage * draw.soft_step(np.float32(0.75) - canvas.y, 0.4)
  return (back + np.float32(0.45) * front) * cage


def _clavicles(
  canvas: draw.Canvas, rng: np.random.Generator
) -> Float[np.ndarray, "H W"]:
  across = np.abs(canvas.x)
  height, slope = rng.uniform(-0.66, -0.52), rng.uniform(0.05, 0.30)
  curve = height - slope * across + 0.12 * np.sin(7 * across)
  bone = draw.soft_step(
    np.float32(0.035) - np.abs(canvas.y - curve), max(canvas.pixel, 0.015)
  )
  return bone * ((across > 0.08) & (across < 0.74))


def _spine(canvas: draw.Canvas, *, gap: float) -> Float[np.ndarray, "H W"]:
  column = draw.soft_step(0.095 - np.abs(canvas.x), 0.03)
  bodies = np.cos(canvas.y * np.float32(2 * np.pi / (1.1 * gap)))
  return column * (np.float32(0.8) + np.float32(0.3) * bodies)


def vessels(
  canvas: draw.Canvas, rng: np.random.Generator
) -> Float[np.ndarray, "H W"]:
  """Lung markings that fan out from both hila and fade outwards."""
  dx = np.abs(canvas.x) - np.float32(0.14)
  dy = canvas.y + np.float32(0.02)
  radius = np.sqrt(dx * dx + dy * dy) + np.float32(0.02)
  bend = draw.smooth_noise(rng, canvas, wavelength=0.25)
  fan = np.arctan2(dy, dx) * np.float32(9) + np.float32(1.6) * bend
  branch = np.clip(np.sin(fan + canvas.x) - np.float32(0.45), 0, 1)
  return branch * np.exp(radius * np.float32(-2.2))


def build_frontal(
  canvas: draw.Canvas,
  habitus: Habitus,
  *,
  rng: np.random.Generator,
  heart_scale: float,
) -> Chest:
  """Draws a healthy frontal chest, its heart enlarged by `heart_scale`."""
  breath = rng.uniform(0.30, 0.50)
  body = _body(canvas, habitus)
  lungs = {
    side: _lung(canvas, habitus, side=side, breath=breath)
    for side in ("right", "left")
  }
  heart = draw.disc(
    canvas,
    (0.05 + 0.30 * (habitus.heart_width * heart_scale - 0.1), breath - 0.13),
    radii=(
      habitus.heart_width * heart_scale * rng.uniform(0.96, 1.04),
      habitus.heart_width * rng.uniform(0.72, 0.85) * heart_scale**0.7,
    ),
    angle=rng.uniform(0.35, 0.75),
    edge=0.03,
  )
  middle = _mediastinum(canvas, rng)
  open_field = (1 - np.maximum(heart, middle)).astype(np.float32)
  lungs = {
    side: dataclasses.replace(lung, field=lung.field * open_field)
    for side, lung in lungs.items()
  }
  density = (0.60 + habitus.fat) * body + np.float32(0.16) * heart
  density = density + np.float32(0.08) * middle
  density = density + np.float32(0.18) * _spine(canvas, gap=habitus.rib_gap)
  density = density + _abdomen(canvas, rng, breath=breath) * body
  bone = _ribs(canvas, rng, gap=habitus.rib_gap)
  bone = bone + np.float32(1.3) * _clavicles(canvas, rng)
  density = density + np.float32(habitus.bone) * bone * body
  if habitus.sex == "F":
    density = density + _breasts(canvas, rng)
  return Chest(density=density, lungs=lungs, heart=heart, body=body)


def _mediastinum(
  canvas: draw.Canvas, rng: np.random.Generator
) -> Float[np.ndarray, "H W"]:
  width = rng.uniform(0.11, 0.16)
  band = draw.soft_step(
    np.float32(width) + 0.05 * canvas.y * canvas.y - np.abs(canvas.x), 0.04
  )
  knob = draw.disc(canvas, (width, -0.30), radii=(0.09, 0.10), edge=0.03)
  hila = [
    draw.disc(canvas, (side * (width + 0.03), -0.05), radii=(0.07, 0.13))
    for side in (-1, 1)
  ]
  return np.maximum(np.maximum(band, knob), 0.7 * np.maximum(*hila))


def _abdomen(
  canvas: draw.Canvas, rng: np.random.Generator, *, breath: float
) -> Float[np.ndarray, "H W"]:
  """Liver and spleen, with a bubble of gas under the left dome."""
  below = draw.soft_step(canvas.y - np.float32(breath), 0.15)
  bubble = draw.disc(
    canvas,
    (rng.uniform(0.25, 0.42), breath + rng.uniform(0.17, 0.25)),
    radii=(rng.uniform(0.06, 0.14), rng.uniform(0.04, 0.08)),
  )
  return np.float32(0.12) * below - np.float32(0.22) * bubble


def _breasts(
  canvas: draw.Canvas, rng: np.random.Generator
) -> Float[np.ndarray, "H W"]:
  radius, drop = rng.uniform(0.26, 0.34), rng.uniform(0.30, 0.50)
  pair = [
    draw.disc(canvas, (side * 0.45, drop), radii=(radius, radius), edge=0.08)
    for side in (-1, 1)
  ]
  return np.float32(rng.uniform(0.03, 0.09)) * np.maximum(*pair)


def build_lateral(
  canvas: draw.Canvas,
  habitus: Habitus,
  *,
  rng: np.random.Generator,
  heart_scale: float,
) -> Chest:
  """Draws a healthy lateral chest: spine behind, heart in front, one field."""
  down = (canvas.y - np.float32(_LUNG_CENTRE_Y)) / np.float32(
    habitus.lung_height
  )
  breath, width = rng.uniform(0.35, 0.5), habitus.lung_width * 1.9
  outward = (canvas.x + 0.1 * down) / np.float32(width)
  level = 1 - outward * outward - np.abs(down) * down * down
  floor = np.float32(breath) + np.float32(0.2) * np.square(outward - 0.4)
  field = draw.soft_step(level * np.float32(width / 2), 0.03)
  field = field * draw.soft_step(floor - canvas.y, 0.025)
  heart = draw.disc(
    canvas,
    (-0.2 * width / 0.5, breath - 0.12),
    radii=(habitus.heart_width * 0.9 * heart_scale, habitus.heart_width * 0.8),
    angle=-0.5,
    edge=0.04,
  )
  body = draw.soft_step(width + 0.2 - np.abs(canvas.x), 0.05)
  column = draw.soft_step(0.1 - np.abs(canvas.x - width - 0.02), 0.04)
  stripes = np.cos((canvas.y + 0.8 * canvas.x) * (6.28 / habitus.rib_gap))
  density = (0.62 + habitus.fat) * body + 0.14 * heart + 0.2 * column
  density = density + habitus.bone * 0.7 * draw.soft_step(stripes, 0.6) * field
  lungs = {
    side: Lung(
      side=side,
      field=field * (1 - 0.6 * heart),
      outward=outward,
      down=down,
      width=width,
      height=habitus.lung_height,
      sign=1.0,
      axis=_LATERAL_AXIS,
    )
    for side in ("right", "left")
  }
  return Chest(
    density=density.astype(np.float32), lungs=lungs, heart=heart, body=body
  )
