"""Where the weights of a release come from, and what is known of their making.

The origin is plain JSON. It is stored in the release, so that a release of a
release says the same; nothing in it tells of the machine it was made on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from scan42_jax.data.sources import open_films
from scan42_jax.models.vit import ViTConfig
from scan42_jax.release.curve import draw_curves
from scan42_jax.release.terms import license_of, public_name
from scan42_jax.run_report.history import Series, read_history
from scan42_jax.settings import ScheduleSettings, Settings, build
from scan42_jax.weights.dinov2_file import read_dinov2
from scan42_jax.weights.hub_cache import find_snapshot, looks_like_id
from scan42_jax.weights.huggingface_config import OWN_FILE, read_json
from scan42_jax.weights.initial import load_initial, run_preprocessing
from scan42_jax.weights.preprocessing import Preprocessing
from scan42_jax.weights.workdir import read_run

CURVE_FILE = "training_curve.png"
DINOV2_FILE = "dinov2.safetensors"

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Release:
  """What a folder to publish is made of.

  Attributes:
    config: the encoder's shape.
    modules: float32 arrays by path, of 'encoder' and of any heads.
    preprocessing: of films.
    origin: what is known of the weights' making, as plain JSON.
    curve: the training curve as PNG, if there is one.
    license_id: of the weights, as the Hugging Face hub abbreviates it; None if
      unknown.
  """

  config: ViTConfig
  modules: Mapping[str, Arrays]
  preprocessing: Preprocessing
  origin: dict[str, Any]
  curve: bytes | None
  license_id: str | None


def release_of_run(
  workdir: pathlib.Path,
  *,
  step: int | None,
  which: Literal["teacher", "student"],
  data_dir: pathlib.Path,
) -> Release:
  """Takes one network of a run.

  Args:
    workdir: of the run.
    step: of the checkpoint; None takes the newest.
    which: network.
    data_dir: prepared datasets, to count their films.

  Raises:
    FileNotFoundError: no such work folder, no checkpoint, or no such step.
    ValueError: it cannot be read.
  """
  run = read_run(workdir, step=step, which=which)
  settings = run.settings
  data, start = settings["data"], settings["init_from"]
  history = read_history(workdir, last_step=run.step)
  last = run.step == settings["schedule"]["total_steps"]
  origin = {
    "kind": "run",
    "network": which,
    "step": run.step,
    "peak_learning_rate": _peak_learning_rate(settings),
    "settings": _without_paths(settings),
    "start": _start(start) if start else None,
    "preparation": "the run's settings",
    "data": [_data(data_dir, name, data["split"]) for name in data["datasets"]],
    "held_out": _held_out(settings, history),
    "linear_probe": _linear_probe(workdir)
    if last and which == "teacher"
    else None,
  }
  return Release(
    config=run.config,
    modules={"encoder": run.encoder, **run.heads},
    preprocessing=run_preprocessing(settings),
    origin=origin,
    curve=draw_curves(history),
    license_id=None,
  )


def release_of_weights(source: str) -> Release:
  """Takes any weights that `load_initial` reads, but those of a run.

  Raises:
    FileNotFoundError, ValueError: as `load_initial`.
  """
  path = _located(source)
  if (path / "checkpoints").is_dir():
    raise ValueError(f"{source} is a work folder: name it as --workdir")
  initial = load_initial(source)
  start = _start(source)
  release = Release(
    config=initial.config,
    modules={"encoder": initial.encoder, **initial.heads},
    preprocessing=initial.preprocessing,
    origin={
      "kind": "converted",
      "start": start,
      "preparation": initial.preprocessing_origin,
    },
    curve=None,
    license_id=start["license"],
  )
  return _released_before(release, path) or release


def _released_before(release: Release, folder: pathlib.Path) -> Release | None:
  """Takes over what a folder that was released here says of itself."""
  if not (folder / OWN_FILE).is_file():
    return None
  own = read_json(folder / OWN_FILE)
  curve, dinov2 = folder / CURVE_FILE, folder / DINOV2_FILE
  heads = read_dinov2(dinov2)[2] if dinov2.is_file() else {}
  try:
    return dataclasses.replace(
      release,
      modules={**release.modules, **heads},
      origin=own["origin"],
      curve=curve.read_bytes() if curve.is_file() else None,
      license_id=own["license"],
    )
  except KeyError as error:
    raise ValueError(f"{folder / OWN_FILE} has no {error}") from error


def _start(source: str) -> dict[str, Any]:
  path = str(_located(source))
  return {"name": public_name(path), "license": license_of(path)}


def _located(source: str) -> pathlib.Path:
  """Returns where weights lie or lay; hub ids are sought in the cache."""
  path = pathlib.Path(source).expanduser()
  if not path.exists() and looks_like_id(source):
    with contextlib.suppress(FileNotFoundError):
      return find_snapshot(source)
  return path


def _peak_learning_rate(settings: Mapping[str, Any]) -> float:
  # Of the schedule alone: other sections may be of another version.
  schedule = build(ScheduleSettings, settings["schedule"], "config.schedule")
  return (
    Settings(batch_size=settings["batch_size"], schedule=schedule)
    .schedules()
    .learning_rate.base
  )


def _data(data_dir: pathlib.Path, name: str, split: str) -> dict[str, Any]:
  """What a prepared dataset says of itself; nothing where it is absent."""
  try:
    films = open_films(data_dir, name, split)
  except (OSError, ValueError):
    return {"name": name, "split": split, "films": None}
  return {
    "name": name,
    "split": split,
    "films": len(films),
    "manifest_sha256": films.manifest_sha256,
  }


def _held_out(
  settings: Mapping[str, Any], history: Mapping[str, Series]
) -> dict[str, Any] | None:
  """The last measurement on held-out films."""
  found = {
    name.removeprefix("held_out/"): series[-1]
    for name, series in history.items()
    if name.startswith("held_out/")
  }
  if not found:
    return None
  data = settings["data"]
  step = max(step for step, _ in found.values())
  return {
    "step": step,
    "dataset": data["monitor_dataset"] or data["datasets"][0],
    "split": data["monitor_split"],
    "films_at_most": settings["loop"]["monitor_films"],
    "values": {
      name: value for name, (at, value) in found.items() if at == step
    },
  }


def _linear_probe(workdir: pathlib.Path) -> dict[str, Any] | None:
  try:
    return json.loads((workdir / "linear_probe.json").read_text())
  except (OSError, ValueError):
    return None


def _without_paths(value: Any) -> Any:
  """Replaces paths in settings by names that tell nothing of a machine."""
  if isinstance(value, dict):
    return {name: _without_paths(v) for name, v in value.items()}
  if isinstance(value, list):
    return [_without_paths(v) for v in value]
  is_path = isinstance(value, str) and ("/" in value or "\\" in value)
  return public_name(value.replace("\\", "/")) if is_path else value
