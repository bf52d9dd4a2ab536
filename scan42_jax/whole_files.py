"""Small files that a reader finds whole, whenever the writer was killed."""

from __future__ import annotations

import pathlib


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text file under another name first, then puts it in its place."""
  beside = path.with_name(f".{path.name}.partial")
  beside.write_text(text)
  beside.replace(path)
