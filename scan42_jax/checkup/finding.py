"""What a check has found, and what to do about it."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line of the doctor.

  Attributes:
    level: 'ok', 'warn' for what will be slow or short, 'fail' for what will
      not work.
    name: what was looked at.
    text: what is there.
    fix: what to do, '' where nothing is.
  """

  level: Literal["ok", "warn", "fail"]
  name: str
  text: str
  fix: str = ""
