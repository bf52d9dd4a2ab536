"""Chips that runs are planned for."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
  """Makers' figures: dense bfloat16 FLOP/s and bytes of memory."""

  flops: float
  memory: float


CHIPS = {
  "h200": Chip(989e12, 141e9),
  "h100": Chip(989e12, 80e9),
  "a100": Chip(312e12, 80e9),
  "v5e": Chip(197e12, 16e9),
  "v6e": Chip(918e12, 32e9),
  "cpu": Chip(0.1e12, 16e9),
}
"""By the name that the flag takes."""
