"""A run's settings as rows of the model card: the main ones, and all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# What says where and how often something was done, but not what was learned.
_HOUSEKEEPING = ("mesh", "loop", "drift", "model", "init_from")

Rows = list[tuple[str, str]]


def recipe_rows(origin: Mapping[str, Any]) -> Rows:
  """Returns the settings that a reader looks for first.

  Args:
    origin: of a run, see sources.py.
  """
  s = origin["settings"]
  schedule, objective, crops = s["schedule"], s["objective"], s["crops"]
  batch, total = s["batch_size"], schedule["total_steps"]
  shared = not s["separate_ibot_head"]
  return [
    ("steps", f"{origin['step']:,} of {total:,}"),
    ("films per step", f"{batch:,}"),
    ("films shown", f"{origin['step'] * batch:,}"),
    (
      "learning rate",
      f"0 to {_number(origin['peak_learning_rate'])} in"
      f" {schedule['warmup_steps']:,} steps, then cosine to"
      f" {_number(schedule['final_learning_rate'])}",
    ),
    ("weight decay", _change(schedule, "weight_decay")),
    ("teacher momentum", _change(schedule, "teacher_momentum")),
    ("teacher temperature", _temperature(schedule)),
    ("teacher's targets", objective["teacher"].replace("_", " ")),
    (
      "loss weights",
      ", ".join(
        f"{name} {_number(objective[f'{name.lower()}_weight'])}"
        for name in ("DINO", "iBOT", "KoLeo")
      ),
    ),
    (
      "prototypes",
      f"DINO {s['dino_head']['num_prototypes']:,}, iBOT"
      + (
        " shares them" if shared else f" {s['ibot_head']['num_prototypes']:,}"
      ),
    ),
    (
      "crops",
      f"2 of {crops['global_size_px']} px, {crops['num_local']} of"
      f" {crops['local_size_px']} px",
    ),
    ("histograms", "equalised" if s["data"]["equalize"] else "as they are"),
    ("drop path", _number(s["model"]["drop_path"])),
    ("activations", s["dtype"]),
    ("seed", str(s["seed"])),
  ]


def all_settings(settings: Mapping[str, Any]) -> Rows:
  """Returns every setting of the run that shaped its result."""
  shaping = {k: v for k, v in settings.items() if k not in _HOUSEKEEPING}
  return [
    (f"`{name}`", f"`{json.dumps(value)}`") for name, value in _flat(shaping)
  ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple]:
  for name, value in values.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{name}.")
    else:
      yield prefix + name, value


def _change(schedule: Mapping[str, Any], name: str) -> str:
  first, last = schedule[name], schedule[f"final_{name}"]
  if first == last:
    return _number(first)
  return f"{_number(first)} to {_number(last)}, cosine"


def _temperature(schedule: Mapping[str, Any]) -> str:
  first = schedule["initial_teacher_temperature"]
  last = schedule["teacher_temperature"]
  if first == last:
    return _number(first)
  steps = schedule["teacher_temperature_warmup_steps"]
  return f"{_number(first)} to {_number(last)} in {steps:,} steps"


def _number(value: float) -> str:
  return f"{value:.6g}"
