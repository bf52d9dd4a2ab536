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
from scan42_jax.types import Bool, Float

LABELS = tuple(phantom_findings.PREVALENCE)
"""Names of the labels, in the order of `PhantomFilm.labels`."""

_SPLITS = {"train": 0.60, "validation": 0.10, "test": 0.30}
_VIEWS = {"PA": 0.60, "AP": 0.36, "LATERAL": 0.04}
# Separate streams, so that no draw of one part moves another part.
_PATIENT, _BUILD, _BLOCK, _FINDINGS, _TEXT = range(5)
_VIEW, _POSE, _ANATOMY, _EXPOSURE = range(5, 9)
_LETTERS = {
  "L": np.array([[1, 0, 0]] * 4 + [[1, 1, 1]], bool),
  "R": np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 1], [1, 0, 1]], bool),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomCase:
  """What is known of a film before it is drawn.

  Attributes:
    labels: 1 where the finding of `LABELS` is present, else 0.
    findings: the findings with their sides and places.
    report_findings: findings section of the report.
    impression: impression of the report.
    patient_id: of a patient with one to three films.
    split: "train", "validation" or "test", the same for all of a patient.
    view: "PA", "AP" or "LATERAL".
    sex: "F" or "M".
    age: in years.
  """

  labels: tuple[int, ...]
  findings: tuple[Finding, ...]
  report_findings: str
  impression: str
  patient_id: str
  split: str
  view: str
  sex: str
  age: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomFilm(PhantomCase):
  """A drawn film.

  Attributes:
    pixels: uint16 [H, W], 0..65535, bones bright.
    right_lung: of the patient, on the left of the picture; with the findings
      in it. All False on a lateral film, as are the other masks.
    left_lung: of the patient, on the right of the picture.
    heart: the cardiac silhouette.
  """

  pixels: np.ndarray
  right_lung: Bool[np.ndarray, "H W"]
  left_lung: Bool[np.ndarray, "H W"]
  heart: Bool[np.ndarray, "H W"]


def describe(seed: int, number: int) -> PhantomCase:
  """Tells what film `number` of the set `seed` shows, without drawing it.

  Raises:
    ValueError: if a number is negative.
  """
  if min(seed, number) < 0:
    raise ValueError(
      f"phantom film number={number} of seed={seed}: both must be 0 or more"
    )
  patient = _patient_of(seed, number)
  rng = np.random.default_rng([seed, _PATIENT, patient])
  split = str(rng.choice(list(_SPLITS), p=list(_SPLITS.values())))
  sex, age = str(rng.choice(["F", "M"])), int(rng.integers(18, 91))
  findings = phantom_findings.sample_findings(_stream(seed, _FINDINGS, number))
  text = write_report(findings, rng=_stream(seed, _TEXT, number))
  view = _stream(seed, _VIEW, number).choice(list(_VIEWS), p=[*_VIEWS.values()])
  present = {finding.name for finding in findings}
  return PhantomCase(
    labels=tuple(int(name in present) for name in LABELS),
    findings=findings,
    report_findings=text[0],
    impression=text[1],
    patient_id=f"P{patient:06d}",
    split=split,
    view=str(view),
    sex=sex,
    age=age,
  )


def render(seed: int, number: int, *, size_px: int) -> PhantomFilm:
  """Draws film `number` of the set `seed`.

  Args:
    seed: names the whole set of films, 0 or more.
    number: of the film in the set, 0 or more.
    size_px: largest side that a film can have; its sides vary below it.

  Raises:
    ValueError: if a number is negative or the film too small to draw on.
  """
  case = describe(seed, number)
  if size_px < 32:
    raise ValueError(f"size_px={size_px} is too small for a film, need 32")
  canvas = _sample_canvas(_stream(seed, _POSE, number), size_px)
  patient_rng = np.random.default_rng([seed, _BUILD, int(case.patient_id[1:])])
  habitus = anatomy.sample_habitus(patient_rng, sex=case.sex)
  rng = _stream(seed, _ANATOMY, number)
  chest = _build_chest(canvas, habitus, case, rng=rng)
  density = phantom_findings.draw_findings(
    canvas, chest, case.findings, rng=rng
  )
  frontal = case.view != "LATERAL"
  return PhantomFilm(
    **vars(case),
    pixels=_expose(canvas, density, _stream(seed, _EXPOSURE, number)),
    right_lung=(chest.lungs["right"].field > 0.5) & frontal,
    left_lung=(chest.lungs["left"].field > 0.5) & frontal,
    heart=(chest.heart > 0.5) & frontal,
  )


def _stream(seed: int, part: int, number: int) -> np.random.Generator:
  """Random numbers of one part of one film."""
  return np.random.default_rng([seed, part, number])


def _patient_of(seed: int, number: int) -> int:
  """Patient of a film; six films in a row belong to three patients."""
  block, place = divmod(number, 6)
  counts = np.random.default_rng([seed, _BLOCK, block]).permutation([1, 2, 3])
  return 3 * block + int(np.searchsorted(np.cumsum(counts), place, "right"))


def _sample_canvas(rng: np.random.Generator, size_px: int) -> draw.Canvas:
  """Size and pose of a film."""
  height, width = (rng.uniform(0.8, 1.0, 2) * size_px).round().astype(int)
  pose = draw.Pose(
    shift_x=rng.uniform(-0.22, 0.22),
    shift_y=rng.uniform(-0.22, 0.22),
    angle=rng.uniform(-0.22, 0.22),
    scale=rng.uniform(0.80, 1.25),
    stretch=rng.uniform(0.9, 1.12),
  )
  return draw.make_canvas(int(height), int(width), pose=pose)


def _build_chest(
  canvas: draw.Canvas,
  habitus: anatomy.Habitus,
  case: PhantomCase,
  *,
  rng: np.random.Generator,
) -> anatomy.Chest:
  large = case.labels[LABELS.index("Cardiomegaly")]
  lateral = case.view == "LATERAL"
  build = anatomy.build_lateral if lateral else anatomy.build_frontal
  return build(
    canvas,
    habitus,
    rng=rng,
    heart_scale=rng.uniform(1.20, 1.38) if large else rng.uniform(0.9, 1.08),
  )


def _expose(
  canvas: draw.Canvas,
  density: Float[np.ndarray, "H W"],
  rng: np.random.Generator,
) -> np.ndarray:
  """Attenuation to uint16 [H, W]: tilt, gain, gamma, blur, noise, borders."""
  tilt_x, tilt_y = rng.uniform(-0.12, 0.12, 2)
  gain, dark = rng.uniform(0.65, 1.05), rng.uniform(0.0, 0.15)
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
