"""Writes a release as one folder, whole or not at all."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from scan42_jax.data.finished import file_sha256
from scan42_jax.release.card import render
from scan42_jax.release.data_card import DATA_CARD, render_data_card
from scan42_jax.release.sources import CURVE_FILE, DINOV2_FILE, Release
from scan42_jax.weights import preprocessing
from scan42_jax.weights.dinov2_file import write_dinov2
from scan42_jax.weights.expected import listed, not_finite
from scan42_jax.weights.huggingface import to_huggingface
from scan42_jax.weights.huggingface_config import (
  OWN_FILE,
  config_json,
  read_json,
  resize_json,
)


def write_release(
  release: Release, output: pathlib.Path, *, with_dinov2: bool
) -> None:
  """Writes the folder; an earlier release there is replaced at the end.

  A kill leaves `output` as it was, or absent for the moment in which the new
  folder takes the old one's name; the next call puts things right.

  Args:
    release: what to write.
    output: the folder.
    with_dinov2: add a file with DINOv2's names and the heads.

  Raises:
    ValueError: something else lies in `output`, or the weights cannot be
      released.
  """
  output = output.resolve()
  partial = output.with_name(f".{output.name}.partial")
  replaced = output.with_name(f".{output.name}.replaced")
  _settle(replaced, output)
  check_output(output)
  _check_finite(release)
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    _write(partial, release, with_dinov2=with_dinov2)
    if output.exists():
      output.rename(replaced)
    partial.rename(output)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
    _settle(replaced, output)


def _settle(replaced: pathlib.Path, output: pathlib.Path) -> None:
  """Removes the replaced folder, or puts it back where nothing replaced it."""
  if output.exists():
    shutil.rmtree(replaced, ignore_errors=True)
  elif replaced.exists():
    replaced.rename(output)


def check_output(output: pathlib.Path) -> None:
  """Refuses a folder that holds anything but a release as it was written.

  Raises:
    ValueError: it does.
  """
  if output.is_file():
    raise ValueError(f"{output} is a file: name a folder as --output")
  if not output.is_dir() or not any(output.iterdir()):
    return
  try:
    files = read_json(output / OWN_FILE)["files"]
    digests = dict(files)
  except (OSError, KeyError, TypeError, ValueError):
    raise ValueError(
      f"{output} is not empty and no release of this project: name another"
      " --output"
    ) from None
  for path in sorted(output.iterdir()):
    known = path.is_file() and digests.get(path.name) == file_sha256(path)
    if path.name != OWN_FILE and not known:
      raise ValueError(
        f"{path} is not what was released: move it away or name another"
        " --output"
      )


def _check_finite(release: Release) -> None:
  faults = [
    fault
    for module, arrays in release.modules.items()
    for fault in not_finite(arrays, module=module)
  ]
  if faults:
    raise ValueError(f"such weights are not released: {listed(faults)}")


def _write(
  folder: pathlib.Path, release: Release, *, with_dinov2: bool
) -> None:
  state = to_huggingface(dict(release.modules["encoder"]))
  safetensors.numpy.save_file(
    {name: np.ascontiguousarray(x, np.float32) for name, x in state.items()},
    folder / "model.safetensors",
    # transformers asks for it.
    {"format": "pt"},
  )
  _write_json(folder / "config.json", config_json(release.config))
  _write_json(
    folder / preprocessing.FILE, release.preprocessing.to_huggingface()
  )
  if release.curve:
    (folder / CURVE_FILE).write_bytes(release.curve)
  if with_dinov2:
    write_dinov2(folder / DINOV2_FILE, release.config, release.modules)
  card = render(release, dinov2_file=DINOV2_FILE if with_dinov2 else None)
  (folder / "README.md").write_text(card, encoding="utf-8")
  (folder / DATA_CARD).write_text(
    render_data_card(release.origin), encoding="utf-8"
  )
  files = {}
  for path in sorted(folder.iterdir()):
    # safetensors lets nobody but its writer read what it wrote.
    path.chmod((folder / "config.json").stat().st_mode)
    files[path.name] = file_sha256(path)
  own = {
    "position_embedding_resize": resize_json(release.config),
    "license": release.license_id,
    "origin": release.origin,
    "files": files,
  }
  _write_json(folder / OWN_FILE, own)


def _write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
