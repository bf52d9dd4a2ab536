"""Findings of the phantom films: on their side, in the lung, visible."""

import numpy as np
import pytest

from scan42_jax.datasets import phantom_anatomy as anatomy
from scan42_jax.datasets import phantom_canvas as draw
from scan42_jax.datasets.phantom_findings import (
  PREVALENCE,
  Finding,
  draw_findings,
  sample_findings,
)

POSE = draw.Pose(shift_x=0.0, shift_y=0.0, angle=0.0, scale=1.0, stretch=1.0)
IN_LUNG = (
  "Consolidation",
  "Interstitial Pattern",
  "Nodule",
  "Pleural Effusion",
  "Pneumothorax",
)


@pytest.fixture(scope="module")
def chest():
  canvas = draw.make_canvas(128, 128, pose=POSE)
  habitus = anatomy.sample_habitus(np.random.default_rng(0), sex="F")
  built = anatomy.build_frontal(
    canvas, habitus, rng=np.random.default_rng(1), heart_scale=1.0
  )
  return canvas, built


def _change(chest, finding, *, seed):
  """What the finding alone changes in the attenuation."""
  with_it, without = (
    draw_findings(*chest, findings, rng=np.random.default_rng(seed))
    for findings in ((finding,), ())
  )
  return np.abs(with_it - without)


def _examples(name, *, count):
  found, seed = [], 0
  while len(found) < count:
    rng = np.random.default_rng(seed)
    found += [one for one in sample_findings(rng) if one.name == name]
    seed += 1
  return found


@pytest.mark.parametrize("name", IN_LUNG)
def test_a_lung_finding_changes_its_lung_alone(chest, name):
  canvas, built = chest
  for seed, finding in enumerate(_examples(name, count=12)):
    change = _change(chest, finding, seed=seed)
    sides = ("left", "right") if finding.side == "bilateral" else finding.side
    inside = sum(
      built.lungs[side].field > 0 for side in ("left", "right") if side in sides
    )
    # A nodule at the border may reach over it by its radius.
    loose = change[inside == 0].sum() / change.sum()
    assert loose < (0.35 if name == "Nodule" else 1e-6)
    picture_right = change[:, canvas.x[0] > 0].sum() / change.sum()
    if finding.side == "bilateral":
      assert 0.1 < picture_right < 0.9
    else:
      assert (picture_right > 0.5) == (finding.side == "left")
    assert change.max() > 0.05


def test_a_device_lies_on_its_side(chest):
  canvas, _ = chest
  for seed, finding in enumerate(_examples("Support Devices", count=20)):
    change = _change(chest, finding, seed=seed)
    outer = np.abs(canvas.x) > 0.25
    left = change[outer & (canvas.x > 0)].sum()
    right = change[outer & (canvas.x < 0)].sum()
    assert (left > right) == (finding.side == "left")


@pytest.mark.parametrize(
  "name", ["Consolidation", "Interstitial Pattern", "Nodule"]
)
def test_zones_are_in_order(chest, name):
  canvas, _ = chest
  heights = {}
  for zone in ("upper", "mid", "lower"):
    finding = Finding(name, "left", zone)
    changes = [_change(chest, finding, seed=seed) for seed in range(5)]
    heights[zone] = np.average(canvas.y, weights=sum(changes))
  assert heights["upper"] < heights["mid"] < heights["lower"]


def test_cardiomegaly_widens_the_heart():
  canvas = draw.make_canvas(128, 128, pose=POSE)
  habitus = anatomy.sample_habitus(np.random.default_rng(0), sex="F")
  hearts = [
    anatomy.build_frontal(
      canvas, habitus, rng=np.random.default_rng(1), heart_scale=scale
    ).heart
    for scale in (1.0, 1.4)
  ]
  widths = [(heart > 0.5).any(axis=0).sum() for heart in hearts]
  assert widths[1] > 1.2 * widths[0]


def test_every_finding_is_drawn_at_its_prevalence():
  rng = np.random.default_rng(0)
  names = [one.name for _ in range(3000) for one in sample_findings(rng)]
  for name, share in PREVALENCE.items():
    assert names.count(name) / 3000 == pytest.approx(share, abs=0.05)
