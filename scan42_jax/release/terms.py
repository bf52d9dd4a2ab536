"""Terms of data and of starting weights, as far as this project knows them.

A licence that lies beside the weights counts; otherwise the published name
does, and what has neither is unknown.
"""

from __future__ import annotations

import pathlib
import re

_OWNERS = ("facebook", "microsoft", "m42-health")

_WEIGHTS = (
  (r"(facebook/)?dinov2[-_].*", "apache-2.0"),
  (r"(m42-health/)?CXformer-.*", "cc-by-nc-4.0"),
)
_PHYSIONET = "PhysioNet Credentialed Health Data License"
_DATA = {
  "brax": _PHYSIONET,
  "chexmask": "CC BY 4.0; films by the terms of their own release",
  "chexpert": ("Stanford University School of Medicine research use agreement"),
  "iu_xray": "CC BY-NC-ND 4.0",
  "mimic_cxr": _PHYSIONET,
  "nih_cxr8": "unrestricted; thanks to the NIH Clinical Center and citation",
  "padchest": "PADCHEST Dataset Research Use Agreement",
  "phantom": "drawn by scan42_jax, no film of a patient",
  "rsna_pneumonia": (
    "any purpose with attribution to RSNA and the NIH Clinical Center"
  ),
  "vindr_cxr": _PHYSIONET,
}


def terms_of_data(name: str) -> str | None:
  """Returns the terms of a prepared dataset; None if they are not known."""
  return _DATA.get(name.removesuffix("_published"))


def public_name(source: str) -> str:
  """Returns a name of weights that tells nothing of the machine they lie on.

  'owner/name' for the hub's cache and for owners of known encoders, else the
  last part of the path.
  """
  path = pathlib.Path(source)
  for part in path.parts:
    if part.startswith("models--"):
      return part.removeprefix("models--").replace("--", "/")
  if path.parent.name and str(path.parent) in _OWNERS and not path.exists():
    return source
  return path.resolve().name if path.name in ("", "..") else path.name


def license_of(source: str) -> str | None:
  """Returns the licence of weights as the hub abbreviates it, if known."""
  path = pathlib.Path(source)
  card = (path if path.is_dir() else path.parent) / "README.md"
  if path.exists() and card.is_file():
    stated = _front_matter(card).get("license")
    if stated not in (None, "unknown"):
      return stated
  name = public_name(source)
  for pattern, licence in _WEIGHTS:
    if re.fullmatch(pattern, name):
      return licence
  return None


def _front_matter(card: pathlib.Path) -> dict[str, str]:
  """Reads the plain 'key: value' lines of a model card's front matter."""
  text = card.read_text(encoding="utf-8", errors="replace")
  match = re.match(r"---\s*\n(.*?)\n---\s*\n", text, re.DOTALL)
  lines = match[1].splitlines() if match else []
  pairs = [re.fullmatch(r"(\w+):\s*([\w.+-]+)\s*", line) for line in lines]
  return {pair[1]: pair[2] for pair in pairs if pair}
