"""Models of the Hugging Face hub that are on this machine already.

The cache's layout is that of huggingface_hub:
`models--ORG--NAME/{refs/main, snapshots/REVISION/}`. Nothing is downloaded.
"""

from __future__ import annotations

import os
import pathlib
import re

_MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def looks_like_id(source: str) -> bool:
  """Whether a source has the form ORG/NAME of a model on the hub."""
  return _MODEL_ID.fullmatch(source) is not None


def find_snapshot(model_id: str) -> pathlib.Path:
  """Returns the folder of a model's main revision.

  Args:
    model_id: ORG/NAME.

  Raises:
    FileNotFoundError: the cache has none; says how to get it.
  """
  name = "models--" + model_id.replace("/", "--")
  folder = cache_folder() / name
  advice = f"get it with: hf download {model_id}"
  if not folder.is_dir():
    raise FileNotFoundError(
      f"{model_id}: no such path, and no such model in the Hugging Face cache"
      f" {cache_folder()}; {advice}"
    )
  reference = folder / "refs" / "main"
  revision = reference.read_text().strip() if reference.is_file() else ""
  snapshot = folder / "snapshots" / revision
  if not revision or not (snapshot / "config.json").is_file():
    raise FileNotFoundError(
      f"{model_id}: its copy in the Hugging Face cache {folder} is incomplete;"
      f" {advice}"
    )
  return snapshot


def cache_folder() -> pathlib.Path:
  """Returns where huggingface_hub keeps models, by its own variables."""
  folder = os.environ.get("HF_HUB_CACHE")
  if folder:
    return pathlib.Path(folder).expanduser()
  home = os.environ.get("HF_HOME") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
  )
  return pathlib.Path(home).expanduser() / "hub"
