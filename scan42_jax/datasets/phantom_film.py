"""A phantom chest film from (seed, number): pixels, labels, masks, report.

Patients have one to three films and belong to one split. Pose, exposure,
noise, blur, collimation and size vary from film to film and are drawn apart
from the findings. Writing films to files is not done here.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from scan42_jax.datasets import phantom_anatomy as anatomy
from scan42_jax.datasets import phantom_canvas as draw
from scan42_jax.datasets import phantom_findings
from scan42_jax.datasets.phantom_findings import Finding
from scan42_jax.datasets.phantom_report import write_report
from scan42_jax.types import Bool, Float, Int

LABELS = tuple(phantom_findings.PREVALENCE)
"""Names of the labels, in the order of `PhantomFilm.labels`."""

_SPLITS = {"train": 0.60, "validation": 0.10, "test": 0.30}
# Separate streams, so that no draw of one part moves another part.
_PATIENT, _BLOCK, _FINDINGS, _TEXT, _POSE, _ANATOMY, _EXPOSURE = range(7)
_LETTERS = {
  "L": np.array([[1, 0, 0]] * 4 + [[1, 1, 1]], bool),
  "R": np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 1], [1, 0, 1]], bool),
}


@dataclasses.dataclass(frozen=True)
class PhantomFilm:
  """One film and everything that is known of it.

  Attributes:
    pixels: 0..65535, bones bright.
    labels: 1 where the finding of `LABELS` is present, else 0.
    findings: the findings with their sides and places.
    right_lung: of the patient, on the left of the picture; with the finding
      in it. All False on a lateral film, as are the other masks.
    left_lung: of the patient, on the right of the picture.
    heart: the cardiac silhouette.
    report_findings: findings section of the report.
    impression: impression of the report.
    patient_id: of a patient with one to three films.
    split: "train", "validation" or "test", the same for all of a patient.
    view: "PA", "AP" or "LATERAL".
    sex: "F" or "M".
    age: in years.
  """

  pixels: Int[np.ndarray, "H W"]
  labels: Int[np.ndarray, "K"]
  findings: tuple[Finding, ...]
  right_lung: Bool[np.ndarray, "H W"]
  left_lung: Bool[np.ndarray, "H W"]
  heart: Bool[np.ndarray, "H W"]
  report_findings: str
  impression: str
  patient_id: str
  split: str
  view: str
  sex: str
  age: int


def render(seed: int, number: int, *, size_px: int) -> PhantomFilm:
  """Draws film `number` of the set `seed`.

  Args:
    seed: names the whole set of films, 0 or more.
    number: of the film in the set, 0 or more.
    size_px: largest side that a film can have; its sides vary below it.

  Raises:
    ValueError: if a number is negative or the film too small to draw on.
  """
  if min(seed, number) < 0 or size_px < 32:
    raise ValueError(
      f"phantom film (seed={seed}, number={number}, size_px={size_px}): "
      "seed and number must be 0 or more, size_px 32 or more"
    )
  patient = _patient_of(seed, number)
  patient_rng = np.random.default_rng([seed, _PATIENT, patient])
  split = str(patient_rng.choice(list(_SPLITS), p=list(_SPLITS.values())))
  habitus = anatomy.sample_habitus(patient_rng)

  def stream(part: int) -> np.random.Generator:
    return np.random.default_rng([seed, part, number])

  findings = phantom_findings.sample_findings(stream(_FINDINGS))
  view, canvas = _sample_view(stream(_POSE), size_px)
  rng = stream(_ANATOMY)
  chest = _build_chest(canvas, habitus, findings, rng=rng, view=view)
  density = phantom_findings.draw_findings(canvas, chest, findings, rng=rng)
  text = write_report(findings, rng=stream(_TEXT))
  present = {finding.name for finding in findings}
  frontal = view != "LATERAL"
  return PhantomFilm(
    pixels=_expose(canvas, density, stream(_EXPOSURE)),
    labels=np.array([name in present for name in LABELS], np.int8),
    findings=findings,
    right_lung=(chest.lungs["right"].field > 0.5) & frontal,
    left_lung=(chest.lungs["left"].field > 0.5) & frontal,
    heart=(chest.heart > 0.5) & frontal,
    report_findings=text[0],
    impression=text[1],
    patient_id=f"P{patient:06d}",
    split=split,
    view=view,
    sex=habitus.sex,
    age=habitus.age,
  )


def _patient_of(seed: int, number: int) -> int:
  """Patient of a film; six films in a row belong to three patients."""
  block, place = divmod(number, 6)
  counts = np.random.default_rng([seed, _BLOCK, block]).permutation([1, 2, 3])
  return 3 * block + int(np.searchsorted(np.cumsum(counts), place, "right"))


def _sample_view(
  rng: np.random.Generator, size_px: int
) -> tuple[str, draw.Canvas]:
  """View, size and pose of a film."""
  view = str(rng.choice(["PA", "AP", "LATERAL"], p=[0.60, 0.36, 0.04]))
  height, width = (rng.uniform(0.8, 1.0, 2) * size_px).round().astype(int)
  pose = draw.Pose(
    shift_x=rng.uniform(-0.22, 0.22),
    shift_y=rng.uniform(-0.22, 0.22),
    angle=rng.uniform(-0.22, 0.22),
    scale=rng.uniform(0.80, 1.25),
    stretch=rng.uniform(0.9, 1.12),
  )
  return view, draw.make_canvas(int(height), int(width), pose=pose)


def _build_chest(canvas, habitus, findings, *, rng, view) -> anatomy.Chest:
  large = any(finding.name == "Cardiomegaly" for finding in findings)
  build = anatomy.build_lateral if view == "LATERAL" else anatomy.build_frontal
  return build(
    canvas,
    habitus,
    rng=rng,
    heart_scale=rng.uniform(1.35, 1.55) if large else rng.uniform(0.9, 1.08),
  )


def _expose(
  canvas: draw.Canvas,
  density: Float[np.ndarray, "H W"],
  rng: np.random.Generator,
) -> Int[np.ndarray, "H W"]:
  """Attenuation to pixels: tilt, gain, gamma, blur, noise, collimation."""
  tilt_x, tilt_y = rng.uniform(-0.12, 0.12, 2)
  gain, dark = rng.uniform(0.65, 1.15), rng.uniform(0.0, 0.15)
  film = np.float32(gain) * density + np.float32(dark)
  film = film + np.float32(tilt_x) * canvas.x + np.float32(tilt_y) * canvas.y
  film = np.clip(film, 0, 1) ** np.float32(rng.uniform(0.7, 1.4))
  pixels_per_blur = min(canvas.shape) / 128
  film = draw.blur(film, rng.uniform(0.0, 0.7) * pixels_per_blur)
  grain = rng.uniform(0.005, 0.03)
  # A stream of its own: its length depends on the size in pixels.
  noise = rng.spawn(1)[0].standard_normal(canvas.shape, dtype=np.float32)
  film = np.clip(film + np.float32(grain) * noise, 0, 1)
  _mark_side(film, rng)
  _collimate(film, rng)
  return (film * np.float32(65535)).round().astype(np.uint16)


def _mark_side(
  film: Float[np.ndarray, "H W"], rng: np.random.Generator
) -> None:
  """Prints a saturated L or R beside its shoulder, in place.

  It gives every film the same brightest value, so that a metal device does
  not set the range of the film it lies on.
  """
  letter = str(rng.choice(list(_LETTERS)))
  block = max(1, min(film.shape) // 64)
  glyph = np.kron(_LETTERS[letter], np.ones((block, block), bool))
  top = int(rng.uniform(0.06, 0.16) * film.shape[0])
  left = int(rng.uniform(0.06, 0.12) * film.shape[1])
  if letter == "L":
    left = film.shape[1] - left - glyph.shape[1]
  film[top:, left:][: glyph.shape[0], : glyph.shape[1]][glyph] = 1


def _collimate(
  film: Float[np.ndarray, "H W"], rng: np.random.Generator
) -> None:
  """Blackens borders of up to 5 % of the film, in place."""
  shares = rng.uniform(0, 0.05, 4) * (rng.random(4) < 0.4)
  height, width = film.shape
  film[: round(shares[0] * height)] = 0
  film[height - round(shares[1] * height) :] = 0
  film[:, : round(shares[2] * width)] = 0
  film[:, width - round(shares[3] * width) :] = 0
