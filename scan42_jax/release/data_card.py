"""The data card: which films weights were made of, and what is not known.

Everything comes from the release's origin, so a release of a release says the
same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scan42_jax.release.card import table
from scan42_jax.release.terms import terms_of_data

DATA_CARD = "DATA_CARD.md"
_UNKNOWN = "unknown"


def render_data_card(origin: Mapping[str, Any]) -> str:
  """Returns the card as Markdown.

  Args:
    origin: of a release.
  """
  if origin["kind"] != "run":
    return (
      "# Data card\n\n"
      f"These weights were made elsewhere (`{origin['start']['name']}`) and"
      " converted. Their data is unknown here: see what its makers say of it.\n"
    )
  settings = origin["settings"]
  sections = [
    "# Data card",
    "Films that these weights were pretrained on, without their labels.",
    _films(origin),
    _preparation(settings["data"], settings["crops"]),
    _people(origin),
    "## Not known\n\n- How sex, age, origin, site, device and disease are"
    " spread over these films, unless the owners of a dataset say so.\n"
    "- Whether films that the weights are judged on are among them, unless a"
    " list of films to leave out is named above.\n"
    "- What the starting weights were made of, if there were any.",
  ]
  return "\n\n".join(sections) + "\n"


def _films(origin: Mapping[str, Any]) -> str:
  rows = [
    (
      f"`{data['name']}`",
      data["split"],
      _UNKNOWN if data["films"] is None else f"{data['films']:,}",
      terms_of_data(data["name"]) or _UNKNOWN,
      f"`{data.get('manifest_sha256', _UNKNOWN)}`",
    )
    for data in origin["data"]
  ]
  header = ("dataset", "split", "films", "terms", "SHA-256 of its manifest")
  return "## Films\n\n" + table(header, rows)


def _preparation(data: Mapping[str, Any], crops: Mapping[str, Any]) -> str:
  excluded = ", ".join(f"`{name}`" for name in data.get("exclusions", ()))
  weights = data.get("weights")
  rows = [
    ("histograms equalised on reading", "yes" if data["equalize"] else "no"),
    ("canvas", f"{data['canvas_px']} px"),
    ("global crops", f"2 of {crops['global_size_px']} px"),
    ("local crops", f"{crops['num_local']} of {crops['local_size_px']} px"),
    (
      "mixed",
      f"{weights} films of each in turn" if weights else "by their sizes",
    ),
    ("left out by lists", excluded or "none"),
  ]
  return "## Preparation\n\n" + table(("", ""), rows)


def _people(origin: Mapping[str, Any]) -> str:
  if all(data["name"] == "phantom" for data in origin["data"]):
    return "## People\n\nThe films are drawn; nobody is in them."
  return (
    "## People\n\nThe films are of patients. Patient ids were hashed or those"
    " of the release; no header of a DICOM file was kept. Consent and ethics"
    " are those of the datasets' owners. Whether single films can be recovered"
    " from the weights is unknown."
  )
