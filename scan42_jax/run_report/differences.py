"""What differs between two configs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ABSENT = "(absent)"
"""Stands for a field that one of the configs lacks, as older ones do."""


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
  """Returns nested mappings as 'a.b' -> leaf."""
  if not isinstance(values, Mapping):
    return {prefix: values}
  found: dict[str, Any] = {}
  for name, value in values.items():
    found |= flat(value, f"{prefix}.{name}" if prefix else name)
  return found


def differences(
  before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
  """Returns 'a.b' -> (before, now) for every leaf that differs."""
  old, new = flat(before), flat(now)
  return {
    name: (old.get(name, ABSENT), new.get(name, ABSENT))
    for name in old | new
    if old.get(name, ABSENT) != new.get(name, ABSENT)
  }
