"""Pages of the site that are made of the code: settings and API.

MkDocs calls `on_config` and `on_files`; the tests call the rest.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import sys
import typing
from typing import Any

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[1]
# These pages are about the checkout that they lie in, installed or not.
sys.path.insert(0, str(ROOT))

from scan42_jax.models.heads import ProjectionHead
from scan42_jax.settings import HeadSettings, Settings

PACKAGE = ROOT / "scan42_jax"

# Theirs say nothing that the fields of the other do not say better.
_DESCRIBED_BY = {HeadSettings: ProjectionHead}
_INTRODUCTION = """# Settings

Every field of a run's config, with its default. A config file changes some of
them, a flag such as `--config.schedule.total_steps=1000` one. This page is made
of `scan42_jax/settings.py` and the dataclasses that it names.
"""
NAV = {
  "Start": [
    ("What it is", "index.md"),
    ("First hour", "start.md"),
    ("Data", "data.md"),
    ("Troubleshooting", "troubleshooting.md"),
    ("Questions", "faq.md"),
  ],
  "Pretraining": [
    ("Choosing size, batch, schedule", "choosing.md"),
    ("How a run works", "pretraining.md"),
    ("On clusters", "launch.md"),
    ("Performance", "performance.md"),
    ("Reliability", "reliability.md"),
  ],
  "Using an encoder": [
    ("Weights and features", "encoder.md"),
    ("Many films, and pictures", "features.md"),
    ("Classification and segmentation", "evaluation.md"),
    ("Segmentation", "segmentation.md"),
    ("Writing reports", "reports.md"),
    ("Trying it in a browser", "demo.md"),
  ],
  "Results": [
    ("Measured here", "results.md"),
    ("Reproducing the paper", "reproduce.md"),
  ],
  "Project": [
    ("Architecture", "architecture.md"),
    ("Security", "security.md"),
    ("Contributing", "contributing.md"),
  ],
}
"""Title and page; a page that is not there is left out of the menu."""


def on_config(config):
  """Fills the menu; the pages of the code come last."""
  menu = []
  for title, pages in NAV.items():
    there = [{name: file} for name, file in pages if (_docs() / file).is_file()]
    menu.append({title: there})
  rooms = [{room or "scan42_jax": _api_file(room)} for room in rooms_of_code()]
  menu.append({"Reference": [{"Settings": "settings.md"}, *rooms]})
  config.nav = menu
  return config


def on_files(files, config):
  """Adds the pages of the code."""
  pages = {"settings.md": settings_page()}
  pages |= {_api_file(room): api_page(room) for room in rooms_of_code()}
  for name, text in pages.items():
    files.append(File.generated(config, name, content=text))
  return files


def settings_page() -> str:
  """Returns the reference of all settings as Markdown."""
  parts = [_INTRODUCTION, *_sections(Settings(), "config")]
  return "\n".join(parts)


def rooms_of_code() -> dict[str, list[str]]:
  """Returns the modules of each folder of the package; '' is its top."""
  rooms: dict[str, list[str]] = {}
  for path in sorted(PACKAGE.rglob("*.py")):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[-1] != "__init__":
      room = "/".join(parts[:-1])
      rooms.setdefault(room, []).append(".".join(("scan42_jax", *parts)))
  return rooms


def api_page(room: str) -> str:
  """Returns a page of all public names in a folder of the package."""
  modules = rooms_of_code()[room]
  names = "\n".join(f"::: {module}\n" for module in modules)
  title = f"scan42_jax/{room}".rstrip("/")
  return f"# {title}\n\n{names}"


def _sections(value: Any, where: str) -> list[str]:
  """A table of the plain fields, then the groups, each with its own."""
  documented = _attributes(_DESCRIBED_BY.get(type(value), type(value)))
  kinds = typing.get_type_hints(type(value))
  rows, groups = [], []
  for field in dataclasses.fields(value):
    default = getattr(value, field.name)
    if dataclasses.is_dataclass(default):
      groups += _sections(default, f"{where}.{field.name}")
      continue
    meaning = documented.get(field.name, "").replace("|", "\\|")
    kind = _kind(kinds[field.name]).replace("|", "\\|")
    rows.append(f"| `{field.name}` | {kind} | `{default!r}` | {meaning} |")
  summary = (type(value).__doc__ or "").strip().split("\n\n")[0]
  head = "| field | kind | default | meaning |\n|---|---|---|---|"
  return [f"## {where}\n\n{summary}\n", head, *rows, "", *groups]


def _attributes(cls: type) -> dict[str, str]:
  """Returns the meanings that a docstring gives under 'Attributes:'."""
  text = (cls.__doc__ or "").partition("Attributes:\n")[2]
  found = re.findall(r"^ {4}(\w+): (.*(?:\n {6}.*)*)", text, re.MULTILINE)
  return {name: " ".join(meaning.split()) for name, meaning in found}


def _kind(kind: Any) -> str:
  if typing.get_origin(kind) is typing.Literal:
    return ", ".join(f"`{choice!r}`" for choice in typing.get_args(kind))
  return (
    getattr(kind, "__name__", str(kind))
    if isinstance(kind, type)
    else (str(kind).replace("typing.", ""))
  )


def _api_file(room: str) -> str:
  return f"api/{room.replace('/', '_') or 'top'}.md"


def _docs() -> pathlib.Path:
  return ROOT / "docs"
