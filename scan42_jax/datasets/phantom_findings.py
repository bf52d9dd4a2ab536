"""Findings of the phantom films: which a film has, and how each is drawn.

Findings are drawn independently of each other and of patient, view, pose and
exposure. Each is local, has a side where it can have one, and shows as texture
or edges rather than as a change of brightness alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from scan42_jax.datasets import phantom_anatomy as anatomy
from scan42_jax.datasets import phantom_canvas as draw
from scan42_jax.types import Float

PREVALENCE = {
  "Cardiomegaly": 0.25,
  "Consolidation": 0.28,
  "Interstitial Pattern": 0.28,
  "Nodule": 0.28,
  "Pleural Effusion": 0.28,
  "Pneumothorax": 0.20,
  "Support Devices": 0.30,
}
"""Share of films with a finding; its keys are the label names, in order."""

ZONES = {"upper": -0.45, "mid": -0.05, "lower": 0.30}
"""Height of a lung zone's middle, in the lung's own coordinate."""


@dataclasses.dataclass(frozen=True)
class Finding:
  """One finding of one film.

  Attributes:
    name: key of `PREVALENCE`.
    side: "left", "right", "bilateral", or "" where it has none.
    zone: key of `ZONES`, or "".
    kind: kind of device, or "".
    count: of nodules, else 1.
  """

  name: str
  side: str = ""
  zone: str = ""
  kind: str = ""
  count: int = 1


@dataclasses.dataclass(frozen=True)
class Change:
  """What a finding does to the chest.

  Attributes:
    fill: share of the lung's air that is lost.
    marks: added attenuation.
    clear: share of the lung markings that vanish (air outside the lung).
  """

  fill: Float[np.ndarray, "H W"] | float = 0.0
  marks: Float[np.ndarray, "H W"] | float = 0.0
  clear: Float[np.ndarray, "H W"] | float = 0.0


def sample_findings(rng: np.random.Generator) -> tuple[Finding, ...]:
  """Draws the findings of a film, each on its own."""
  return tuple(
    _sample_finding(name, rng)
    for name, share in PREVALENCE.items()
    if rng.random() < share
  )


def _sample_finding(name: str, rng: np.random.Generator) -> Finding:
  side = str(rng.choice(["left", "right"]))
  zone = str(rng.choice(list(ZONES)))
  match name:
    case "Cardiomegaly":
      return Finding(name)
    case "Nodule":
      return Finding(name, side, zone, count=int(rng.integers(1, 4)))
    case "Interstitial Pattern":
      spread = str(rng.choice([side, "bilateral"]))
      return Finding(name, spread, zone)
    case "Support Devices":
      kind = str(rng.choice(["pacemaker", "catheter", "chest tube"]))
      return Finding(name, side, kind=kind)
    case "Consolidation":
      return Finding(name, side, zone)
  return Finding(name, side)


def draw_findings(
  canvas: draw.Canvas,
  chest: anatomy.Chest,
  findings: tuple[Finding, ...],
  *,
  rng: np.random.Generator,
) -> Float[np.ndarray, "H W"]:
  """Attenuation of the chest with its findings.

  A heart of any size is part of the chest already, so cardiomegaly adds
  nothing here.
  """
  field = np.maximum(chest.lungs["left"].field, chest.lungs["right"].field)
  air = np.float32(anatomy.LUNG_DEPTH) * field
  marks = np.float32(0.30) * anatomy.vessels(canvas, rng) * field
  for finding in findings:
    change = _draw(canvas, chest, finding, rng)
    air = air * (1 - change.fill) * (1 + np.float32(0.1) * change.clear)
    marks = marks * (1 - change.clear) + change.marks
  return chest.density - air + marks


def _draw(canvas, chest, finding, rng) -> Change:
  sides = ("left", "right") if finding.side == "bilateral" else (finding.side,)
  changes = [
    _DRAWERS[finding.name](canvas, chest.lungs[side], finding, rng)
    for side in sides
    if finding.name in _DRAWERS
  ]
  return Change(
    fill=sum((change.fill for change in changes), 0.0),
    marks=sum((change.marks for change in changes), 0.0),
    clear=sum((change.clear for change in changes), 0.0),
  )


def _zone(canvas, lung, finding, rng, *, reach) -> Float[np.ndarray, "H W"]:
  """Ragged patch around a lung zone, cut to the lung."""
  outward = np.float32(rng.uniform(-0.15, 0.35))
  down = np.float32(ZONES[finding.zone] + rng.uniform(-0.08, 0.08))
  across = (lung.outward - outward) * np.float32(1 / reach[0])
  along = (lung.down - down) * np.float32(1 / reach[1])
  rag = draw.smooth_noise(rng, canvas, wavelength=0.14)
  level = 1 - across * across - along * along + np.float32(0.35) * rag
  return draw.soft_step(level, 0.35) * lung.field


def _consolidation(canvas, lung, finding, rng) -> Change:
  """Patch of lost air with dark, branching air bronchograms."""
  reach = rng.uniform(0.70, 1.00), rng.uniform(0.28, 0.42)
  patch = _zone(canvas, lung, finding, rng, reach=reach)
  coarse = draw.smooth_noise(rng, canvas, wavelength=0.13)
  clumps = draw.soft_step(coarse + np.float32(0.1), 0.4)
  return Change(
    fill=patch * np.float32(0.35), marks=np.float32(0.36) * patch * clumps
  )


def _interstitial(canvas, lung, finding, rng) -> Change:
  """Net of fine lines: the zero crossings of a smooth noise."""
  reach = rng.uniform(1.1, 1.5), rng.uniform(0.50, 0.70)
  patch = _zone(canvas, lung, finding, rng, reach=reach)
  wave = draw.smooth_noise(rng, canvas, wavelength=rng.uniform(0.11, 0.15))
  net = np.clip(1 - np.abs(wave) * np.float32(2.8), 0, 1)
  return Change(marks=np.float32(0.42) * patch * (net - np.float32(0.3)))


def _nodule(canvas, lung, finding, rng) -> Change:
  """Round, sharply bounded shadows."""
  marks = 0.0
  for _ in range(finding.count):
    place = lung.point(
      rng.uniform(-0.3, 0.5), ZONES[finding.zone] + rng.uniform(-0.15, 0.12)
    )
    radius = rng.uniform(0.07, 0.12)
    ball = draw.disc(
      canvas, place, radii=(radius, radius * rng.uniform(0.8, 1.2))
    )
    marks = np.maximum(marks, ball)
  return Change(marks=np.float32(rng.uniform(0.45, 0.65)) * marks)


def _effusion(canvas, lung, finding, rng) -> Change:
  """Fluid that fills the base and climbs the chest wall."""
  level = np.float32(rng.uniform(0.22, 0.44))
  climb = np.float32(rng.uniform(0.2, 0.4))
  wall = np.clip(lung.outward + np.float32(0.3), 0, None)
  above = lung.down - level + climb * wall * wall
  # Not times the field: its soft edge would leave a rim of air.
  fluid = draw.soft_step(above * np.float32(lung.height), 0.03)
  fluid = fluid * (lung.field > 0)
  return Change(fill=fluid * np.float32(0.95), clear=fluid)


def _pneumothorax(canvas, lung, finding, rng) -> Change:
  """Air without markings outside a collapsed lung, and the pleural line."""
  rest = rng.uniform(0.45, 0.68)
  across = (lung.outward + np.float32(0.5)) / np.float32(rest) - 0.5
  along = (lung.down - np.float32(0.2)) / np.float32(rest) + 0.2
  level = 1 - across * across - np.abs(along) * along * along
  level = (level * np.float32(lung.width * rest / 2)).astype(np.float32)
  outside = draw.soft_step(-level, 0.02) * lung.field
  line = draw.stroke(level, 0.022, pixel=max(canvas.pixel, 0.01)) * lung.field
  return Change(clear=outside, marks=np.float32(0.45) * line)


def _device(canvas, lung, finding, rng) -> Change:
  """Pacemaker with its lead, central catheter, or chest tube."""
  return _DEVICES[finding.kind](canvas, lung, rng)


def _pacemaker(canvas, lung, rng) -> Change:
  x, y = lung.point(rng.uniform(-0.1, 0.4), rng.uniform(-0.75, -0.55))
  size = rng.uniform(0.075, 0.11)
  box = np.maximum(np.abs(canvas.x - x), np.abs(canvas.y - y) * 1.25)
  box = draw.soft_step(np.float32(size) - box, canvas.pixel * 1.2)
  points = [(x, y), (x * 0.45, y - 0.06), (-0.06, -0.25), (-0.05, 0.08)]
  points += [(rng.uniform(0.05, 0.2), rng.uniform(0.25, 0.38))]
  lead = draw.path_distance(canvas, np.array(points))
  lead = draw.stroke(lead, 0.024, pixel=canvas.pixel)
  return Change(marks=np.float32(0.75) * np.maximum(box, lead))


def _catheter(canvas, lung, rng) -> Change:
  x, y = lung.point(rng.uniform(0.0, 0.6), -0.9)
  points = [(x * 1.1, y), (x * 0.5, -0.62), (-0.04, -0.45)]
  points += [(-0.08, -0.2), (-0.08, rng.uniform(-0.05, 0.15))]
  line = draw.path_distance(canvas, np.array(points))
  return Change(
    marks=np.float32(0.75) * draw.stroke(line, 0.028, pixel=canvas.pixel)
  )


def _chest_tube(canvas, lung, rng) -> Change:
  start = lung.point(1.25, rng.uniform(0.2, 0.5))
  turn = lung.point(rng.uniform(0.5, 0.8), rng.uniform(0.0, 0.3))
  end = lung.point(rng.uniform(-0.3, 0.3), rng.uniform(-0.7, -0.4))
  line = draw.path_distance(canvas, np.array([start, turn, end]))
  tube = draw.stroke(line, 0.050, pixel=canvas.pixel)
  core = draw.stroke(line, 0.020, pixel=canvas.pixel)
  return Change(marks=np.float32(0.75) * (tube - np.float32(0.7) * core))


_DRAWERS = {
  "Consolidation": _consolidation,
  "Interstitial Pattern": _interstitial,
  "Nodule": _nodule,
  "Pleural Effusion": _effusion,
  "Pneumothorax": _pneumothorax,
  "Support Devices": _device,
}

_DEVICES = {
  "pacemaker": _pacemaker,
  "catheter": _catheter,
  "chest tube": _chest_tube,
}
