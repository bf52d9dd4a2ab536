"""What a run wrote to metrics.jsonl, as series."""

from __future__ import annotations

import json
import math
import pathlib

Series = list[tuple[int, float]]
"""(step, value), by step."""


def read_history(
  workdir: pathlib.Path, *, last_step: int | None = None
) -> dict[str, Series]:
  """Reads the metrics of a run, each as a series.

  Args:
    workdir: of the run; without metrics.jsonl there is nothing to tell.
    last_step: what came later is left out; None takes everything.

  Returns:
    Series by metric. A step that was logged again after the run had been
    stopped counts as it was logged last; values that were not finite are left
    out.
  """
  path = workdir / "metrics.jsonl"
  if not path.is_file():
    return {}
  end = math.inf if last_step is None else last_step
  series: dict[str, dict[int, float]] = {}
  for line in path.read_text(errors="replace").splitlines():
    try:
      values = json.loads(line)
      step = int(values.pop("step"))
    except (ValueError, KeyError, AttributeError):
      continue  # A kill may have cut the line.
    for name, value in values.items():
      if step <= end and value is not None:
        series.setdefault(name, {})[step] = float(value)
  return {name: sorted(points.items()) for name, points in series.items()}
