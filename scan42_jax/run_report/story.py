"""All that a work folder tells of its run, read from files alone."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from scan42_jax.run_report.environment import read_environment
from scan42_jax.run_report.history import Series, read_history
from scan42_jax.settings import ScheduleSettings, Settings, build

PICTURES = "pictures"
"""Folder of what was drawn while the run went."""

_POINTS = 200  # Of a schedule's curve.


@dataclasses.dataclass(frozen=True)
class Story:
  """What is known of a run.

  Attributes:
    name: what the reader knows it by.
    config: resolved settings, as JSON values.
    history: series by metric.
    run: see environment.py; {} where nothing was stored.
    data: datasets of the run: name, split, films.
    probe: linear probe before and after, {} before the end.
    crops: PNG of what the student was shown, None if not asked for.
    components: PNG by step of the principal components of patches.
    schedules: curves over the whole run; {} if this version cannot read the
      config.
  """

  name: str
  config: Mapping[str, Any]
  history: Mapping[str, Series]
  run: Mapping[str, Any]
  data: Sequence[Mapping[str, Any]]
  probe: Mapping[str, Any]
  crops: pathlib.Path | None
  components: Mapping[int, pathlib.Path]
  schedules: Mapping[str, Series]

  @property
  def step(self) -> int:
    """Last logged step, 0 before the first."""
    return max((s[-1][0] for s in self.history.values() if s), default=0)

  @property
  def total_steps(self) -> int:
    """Length of the run."""
    return int(self.config["schedule"]["total_steps"])

  def last(self, metric: str) -> float | None:
    """Returns the last finite value of a metric, None if there is none."""
    series = self.history.get(metric)
    return series[-1][1] if series else None


def read_story(workdir: pathlib.Path) -> Story:
  """Reads a work folder.

  Raises:
    FileNotFoundError: there is no run.
    ValueError: config.json is not that of a pretraining run.
  """
  file = workdir / "config.json"
  if not file.is_file():
    raise FileNotFoundError(f"{file}: no such file; is it a --workdir?")
  config = _read_json(file, {})
  if "schedule" not in config or "batch_size" not in config:
    raise ValueError(f"{file} is not the config.json of a pretraining run")
  pictures = workdir / PICTURES
  crops = pictures / "crops.png"
  return Story(
    name=workdir.resolve().name,
    config=config,
    history=read_history(workdir),
    run=read_environment(workdir),
    data=_read_json(workdir / "data.json", []),
    probe=_read_json(workdir / "linear_probe.json", {}),
    crops=crops if crops.is_file() else None,
    components={
      int(path.stem.removeprefix("components_")): path
      for path in sorted(pictures.glob("components_*.png"))
    },
    schedules=_schedules(config),
  )


def _schedules(config: Mapping[str, Any]) -> Mapping[str, Series]:
  try:
    return schedule_curves(
      build(ScheduleSettings, config["schedule"], "config.schedule"),
      int(config["batch_size"]),
    )
  except (ValueError, TypeError):
    return {}


@functools.lru_cache(maxsize=8)
def schedule_curves(
  schedule: ScheduleSettings, batch_size: int
) -> dict[str, Series]:
  """Returns every schedule of a run over its steps."""
  total = schedule.total_steps
  steps = np.unique(np.linspace(0, total - 1, _POINTS).round().astype(int))
  schedules = Settings(schedule=schedule, batch_size=batch_size).schedules()
  values = jax.device_get(jax.vmap(schedules.at)(steps))
  return {
    name: list(zip(steps.tolist(), curve.tolist(), strict=True))
    for name, curve in vars(values).items()
  }


def _read_json(path: pathlib.Path, default: Any) -> Any:
  """Reads a file that the run may not have written yet, or is writing."""
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError):
    return default
