"""Phantom reports: say what is there, on its side, and deny only the rest."""

import numpy as np
import pytest

from scan42_jax.datasets.phantom_findings import PREVALENCE, sample_findings
from scan42_jax.datasets.phantom_report import write_report

# Words by which a reader knows that a sentence speaks of a finding.
WORDS = {
  "Cardiomegaly": ("heart", "cardiac", "cardiomegaly"),
  "Consolidation": ("consolidation",),
  "Interstitial Pattern": ("interstitial", "reticular"),
  "Nodule": ("nodule",),
  "Pleural Effusion": ("effusion", "costophrenic"),
  "Pneumothorax": ("pneumothorax",),
  "Support Devices": ("pacemaker", "catheter", "tube", "device"),
}
NEGATIONS = ("no ", "not ", "normal", "clear")


@pytest.fixture(scope="module")
def reports():
  rng = np.random.default_rng(0)
  films = [sample_findings(rng) for _ in range(400)]
  return [(findings, *write_report(findings, rng=rng)) for findings in films]


def _sentences(text):
  return [part.lower() for part in text.split(".") if part.strip()]


def _about(text, name):
  return [
    sentence
    for sentence in _sentences(text)
    if any(word in sentence for word in WORDS[name])
  ]


def _denies(sentence):
  return any(word in f"{sentence} " for word in NEGATIONS)


@pytest.mark.parametrize("name", PREVALENCE)
def test_present_is_asserted_with_side_and_absent_never(reports, name):
  denied = 0
  for findings, body, impression in reports:
    present = {finding.name: finding for finding in findings}
    sentences = _about(body, name)
    if name not in present:
      assert all(_denies(sentence) for sentence in sentences)
      assert not _about(impression.replace("cardiopulmonary", ""), name)
      denied += bool(sentences)
      continue
    for sentence in (*sentences, *_about(impression, name)):
      assert not _denies(sentence)
      _check_side(sentence, present[name].side)
      if present[name].zone:
        assert present[name].zone in sentence
    assert len(sentences) == len(_about(impression, name)) == 1
  absent = sum(
    all(finding.name != name for finding in findings)
    for findings, _, _ in reports
  )
  assert 0.5 * absent < denied < 0.95 * absent, "silent on some, denies most"


def _check_side(sentence, side):
  if side == "bilateral":
    assert "bilateral" in sentence or "both lungs" in sentence
  elif side:
    other = {"left": "right", "right": "left"}[side]
    assert side in sentence
    assert other not in sentence.replace("right ventricle", "")


def test_several_findings_and_normal_films_occur(reports):
  counts = [len(findings) for findings, _, _ in reports]
  assert min(counts) == 0 and max(counts) >= 4
  for findings, body, impression in reports:
    assert body and impression
    if not findings:
      assert "No acute" in impression


def test_wording_varies(reports):
  bodies = {body for _, body, _ in reports}
  assert len(bodies) > 0.9 * len(reports)
