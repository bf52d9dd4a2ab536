"""Nested mappings, as configs and JSON have them, to nested dataclasses."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal


def build(cls: type, config: Any, where: str) -> Any:
  """Builds nested settings from nested mappings, naming what is unknown."""
  types = typing.get_type_hints(cls)
  if not hasattr(config, "keys"):
    raise ValueError(f"{where}={config!r} is not a group of settings")
  unknown = set(config) - types.keys()
  if unknown:
    raise ValueError(
      f"{where}.{min(unknown)} is unknown; {where} has {', '.join(types)}"
    )
  return cls(
    **{
      name: _convert(types[name], config[name], f"{where}.{name}")
      for name in config
    }
  )


def _convert(kind: Any, value: Any, where: str) -> Any:
  """Checks one value against a field's type."""
  if dataclasses.is_dataclass(kind):
    return build(kind, value, where)
  choices = typing.get_args(kind)
  if typing.get_origin(kind) is Literal:
    if value not in choices:
      raise ValueError(f"{where}={value!r} is not one of {choices}")
    return value
  if typing.get_origin(kind) is tuple:
    if not isinstance(value, list | tuple):
      raise ValueError(f"{where}={value!r} is not a list")
    return tuple(value)
  if kind is float and type(value) is int:
    return float(value)
  # A bool is an int in Python, and no number here.
  if kind in (int, float, bool, str) and type(value) is not kind:
    raise ValueError(f"{where}={value!r} is not of type {kind.__name__}")
  return value
