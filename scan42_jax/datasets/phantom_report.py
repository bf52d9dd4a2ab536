"""Templated reports of the phantom films: findings and impression.

A report mentions every finding of its film with side and place, denies some of
the absent ones, and is silent on the rest: not mentioned is not denied.
"""

from __future__ import annotations

import numpy as np

from scan42_jax.datasets.phantom_findings import PREVALENCE, Finding

_DENIALS = {
  "Cardiomegaly": (
    "The heart size is normal.",
    "The cardiac silhouette is not enlarged.",
  ),
  "Consolidation": (
    "No focal consolidation is seen.",
    "There is no airspace consolidation.",
  ),
  "Interstitial Pattern": (
    "No interstitial pattern is present.",
    "There are no reticular opacities.",
  ),
  "Nodule": (
    "No pulmonary nodule is identified.",
    "There is no nodule or mass.",
  ),
  "Pleural Effusion": (
    "There is no pleural effusion.",
    "Both costophrenic angles are clear.",
  ),
  "Pneumothorax": (
    "There is no pneumothorax.",
    "No pneumothorax is seen on either side.",
  ),
  "Support Devices": (
    "No support device is seen.",
    "There are no lines or tubes.",
  ),
}

_NOUNS = {
  "Cardiomegaly": "cardiomegaly",
  "Consolidation": "consolidation",
  "Interstitial Pattern": "interstitial pattern",
  "Nodule": "nodule",
  "Pleural Effusion": "pleural effusion",
  "Pneumothorax": "pneumothorax",
}


def write_report(
  findings: tuple[Finding, ...], *, rng: np.random.Generator
) -> tuple[str, str]:
  """Writes the two sections of a report.

  Returns:
    The findings section and the impression.
  """
  present = {finding.name: finding for finding in findings}
  sentences = []
  for name in rng.permutation(list(PREVALENCE)):
    if name in present:
      sentences.append(_assert(present[name], rng))
    elif rng.random() < 0.75:
      sentences.append(str(rng.choice(_DENIALS[name])))
  if not sentences:
    sentences.append("The lungs are clear.")
  return " ".join(sentences), _impression(findings)


def _assert(finding: Finding, rng: np.random.Generator) -> str:
  side, zone = finding.side, finding.zone
  match finding.name:
    case "Cardiomegaly":
      options = (
        "The heart is enlarged.",
        "There is cardiomegaly.",
      )
    case "Consolidation":
      options = (
        f"There is consolidation in the {side} {zone} zone.",
        f"Airspace consolidation is seen in the {side} lung, {zone} zone.",
      )
    case "Interstitial Pattern":
      where = "in both lungs" if side == "bilateral" else f"in the {side} lung"
      options = (
        f"A reticular interstitial pattern is seen {where}, mainly in the "
        f"{zone} zone.",
        f"Reticular opacities are present {where}, {zone} zone predominant.",
      )
    case "Nodule":
      options = _nodule_sentences(finding)
    case "Support Devices":
      options = _device_sentences(finding)
    case _:
      noun = _NOUNS[finding.name]
      options = (
        f"There is a {side} {noun}.",
        f"A {noun} is present on the {side}.",
      )
  return str(rng.choice(options))


def _nodule_sentences(finding: Finding) -> tuple[str, ...]:
  place = f"in the {finding.side} {finding.zone} zone"
  if finding.count == 1:
    return (
      f"A single nodule is seen {place}.",
      f"There is a round nodule {place}.",
    )
  number = {2: "two", 3: "three"}[finding.count]
  return (
    f"There are {number} nodules {place}.",
    f"{number.capitalize()} round nodules are seen {place}.",
  )


def _device_sentences(finding: Finding) -> tuple[str, ...]:
  side, kind = finding.side, finding.kind
  if kind == "pacemaker":
    return (
      f"A {side} chest pacemaker with its lead in the right ventricle is seen.",
      f"There is a pacemaker over the {side} chest.",
    )
  if kind == "catheter":
    return (
      f"A {side} subclavian catheter ends in the superior vena cava.",
      f"There is a central venous catheter from the {side}.",
    )
  return (
    f"A {side} chest tube is in place.",
    f"There is a chest tube on the {side}.",
  )


def _impression(findings: tuple[Finding, ...]) -> str:
  if not findings:
    return "No acute cardiopulmonary abnormality."
  phrases = [_phrase(finding) for finding in findings]
  return " ".join(f"{phrase.capitalize()}." for phrase in phrases)


def _phrase(finding: Finding) -> str:
  if finding.name == "Support Devices":
    return f"{finding.side} {finding.kind} in place"
  noun = _NOUNS[finding.name]
  if finding.count > 1:
    noun = f"{noun}s"
  words = [finding.side, f"{finding.zone} zone" if finding.zone else "", noun]
  return " ".join(word for word in words if word)
