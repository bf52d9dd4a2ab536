"""The model card: README.md with the front matter of the Hugging Face hub.

Every number comes from the release; what is not known is said to be unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from scan42_jax.models.vit import VIT_SHAPES, ViTConfig
from scan42_jax.release.recipe import all_settings, recipe_rows
from scan42_jax.release.sources import CURVE_FILE, Release
from scan42_jax.release.terms import terms_of_data
from scan42_jax.release.usage import square, use_section

_UNKNOWN = "unknown"
_TAGS = ("chest-x-ray", "dinov2", "feature-extraction", "medical", "vit")


def render(release: Release, *, dinov2_file: str | None) -> str:
  """Returns the card as Markdown.

  Args:
    release: what the folder holds.
    dinov2_file: name of the file in DINOv2's layout, if there is one.
  """
  sections = [
    _front_matter(release),
    _introduction(release),
    use_section(release),
    _making(release),
    _limits(),
    _licences(release),
    _files(release, dinov2_file),
  ]
  return "\n\n".join(sections) + "\n"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
  """Returns a Markdown table."""
  lines = [header, ("---",) * len(header), *rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _front_matter(release: Release) -> str:
  lines = [
    "---",
    f"license: {release.license_id or _UNKNOWN}",
    "library_name: transformers",
    "pipeline_tag: image-feature-extraction",
  ]
  start = release.origin["start"]
  if start and "/" in start["name"]:
    lines.append(f"base_model: {start['name']}")
  return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in _TAGS), "---"])


def _introduction(release: Release) -> str:
  config, origin = release.config, release.origin
  count = sum(math.prod(x.shape) for x in release.modules["encoder"].values())
  how = "Weights of an encoder that was made elsewhere, converted as they are."
  if origin["kind"] == "run":
    total = origin["settings"]["schedule"]["total_steps"]
    how = (
      "Trained by self-distillation (DINO, iBOT and KoLeo, as in DINOv2) on"
      f" films without their labels: the {origin['network']} after step"
      f" {origin['step']:,} of {total:,}."
    )
  facts = [
    ("parameters", f"{count:,}"),
    ("width", str(config.width)),
    ("blocks", str(config.depth)),
    ("attention heads", str(config.num_heads)),
    ("patch", f"{square(config.patch_size)} px"),
    ("registers", str(config.num_registers)),
    ("feed-forward", "SwiGLU" if config.swiglu else "GELU"),
    ("position table", f"for {square(config.image_size)} px"),
    ("stored as", "float32"),
  ]
  return f"""# {_title(config)}

An image encoder for chest X-rays. {how}

**Not for clinical use.** Not a medical device; for research only.

{table(("encoder", ""), facts)}"""


def _title(config: ViTConfig) -> str:
  shape = {"width": config.width, "depth": config.depth}
  shape["num_heads"] = config.num_heads
  sizes = [k for k, v in VIT_SHAPES.items() if shape.items() <= v.items()]
  registers = (
    f" with {config.num_registers} registers" if config.num_registers else ""
  )
  size = f"ViT-{sizes[0]}" if sizes else "ViT"
  return f"Chest X-ray encoder, {size}/{config.patch_size}{registers}"


def _making(release: Release) -> str:
  origin = release.origin
  if origin["kind"] != "run":
    return f"""## Making

Converted from `{origin["start"]["name"]}`. Data and recipe are unknown here: \
see what its makers say of it."""
  parts = [
    "## Data",
    _data(origin),
    "## Recipe",
    _start(origin["start"]),
    table(("setting", "value"), recipe_rows(origin)),
    "<details><summary>All settings</summary>",
    table(("setting", "value"), all_settings(origin["settings"])),
    "</details>",
    "## Training curve",
    f"![Training curve]({CURVE_FILE})"
    if release.curve
    else "Unknown: no metrics.jsonl lay in the run's folder.",
    *_measured(origin),
  ]
  return "\n\n".join(parts)


def _data(origin: Mapping[str, Any]) -> str:
  settings = origin["settings"]["data"]
  rows = [
    (
      f"`{data['name']}`",
      data["split"],
      _UNKNOWN if data["films"] is None else f"{data['films']:,}",
      terms_of_data(data["name"]) or _UNKNOWN,
    )
    for data in origin["data"]
  ]
  text = table(("dataset", "split", "films", "terms"), rows)
  text += (
    "\n\nFilms are counted in the prepared datasets as they were when this"
    " folder was written."
  )
  if settings.get("exclusions"):
    lists = ", ".join(f"`{name}`" for name in settings["exclusions"])
    text += f" Films on these lists were left out of training: {lists}."
  return text


def _start(start: Mapping[str, Any] | None) -> str:
  if start is None:
    return "Starting weights: none, trained from random numbers."
  licence = start["license"] or _UNKNOWN
  return f"Starting weights: `{start['name']}`, licence {licence}."


def _measured(origin: Mapping[str, Any]) -> list[str]:
  parts = []
  held_out, probe = origin["held_out"], origin["linear_probe"]
  if held_out:
    values = sorted(held_out["values"].items())
    parts.append(
      f"Monitors on at most {held_out['films_at_most']:,} held-out films of"
      f" `{held_out['dataset']}` ({held_out['split']}), teacher at step"
      f" {held_out['step']:,}:\n\n"
      + table(("monitor", "value"), [(k, f"{v:.4g}") for k, v in values])
    )
  if probe:
    parts.append(
      "Linear probe, macro AUROC on {test_films:,} test films of"
      " {test_patients:,} patients: {trained:.3f}; {untrained:.3f} with the"
      " encoder that training started from; gain {gain:.3f}, 95 % interval"
      " {gain_low:.3f} to {gain_high:.3f}.".format(**probe)
    )
  if not parts:
    parts.append("Quality on held-out films: unknown.")
  return ["## Measured", *parts]


def _limits() -> str:
  return """## Limits

- Not evaluated for any clinical purpose, and not to be used for one.
- Features carry what distinguishes the films of the data: site, device, view, \
sex, age. Whether they serve all groups of patients alike is unknown.
- Behaviour on other kinds of images, and on films prepared otherwise, is \
unknown.
- Whether single films can be recovered from the weights is unknown."""


def _licences(release: Release) -> str:
  origin = release.origin
  lines = [f"- Weights: {release.license_id or 'unknown, none was stated'}."]
  if origin["start"]:
    start = origin["start"]
    lines.append(
      f"- Starting weights `{start['name']}`:"
      f" {start['license'] or 'unknown; ask their makers'}."
    )
  for data in origin.get("data", ()):
    terms = terms_of_data(data["name"]) or "unknown; ask its owners"
    lines.append(f"- Data `{data['name']}`: {terms}.")
  lines.append(
    "- Terms of data and of starting weights may bind what was made from them:"
    " whoever passes the weights on has to check them."
  )
  return "\n".join(["## Licences", "", *lines])


def _files(release: Release, dinov2_file: str | None) -> str:
  rows = [
    ("`model.safetensors`, `config.json`", "the encoder, for transformers"),
    ("`preprocessor_config.json`", "how films are prepared"),
    ("`DATA_CARD.md`", "films, their preparation, terms, what is unknown"),
    ("`scan42.json`", "origin, all settings, digests of the files"),
  ]
  if dinov2_file:
    heads = sorted(release.modules.keys() - {"encoder"})
    rows.append(
      (
        f"`{dinov2_file}`",
        f"DINOv2's names: backbone, {', '.join(heads) or 'no heads'}",
      )
    )
  return "\n\n".join(["## Files", table(("file", "content"), rows)])
