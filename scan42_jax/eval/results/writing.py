"""Writes the results of one evaluation into its work folder.

metrics.json for programs, results.md for a table, report.html for people, and
the figures as files of their own. The same for every task.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from scan42_jax.pages.page import (
  Figure,
  Table,
  markdown_table,
  render_page,
)

METRICS = "metrics.json"
ROW = "results.md"
REPORT = "report.html"
FIGURES = "figures"


@dataclasses.dataclass(frozen=True)
class Results:
  """What is to be written.

  Attributes:
    title: heading of the page.
    row: the run's line in a table of many runs, column -> text.
    metrics: numbers, JSON values; NaN becomes null.
    provenance: see provenance.py.
    tables: of the page.
    figures: of the page.
    notes: sentences that belong to every number: policy, leakage, smallness.
  """

  title: str
  row: Mapping[str, str]
  metrics: Mapping[str, Any]
  provenance: Mapping[str, Any]
  tables: Sequence[Table]
  figures: Sequence[Figure]
  notes: Sequence[str] = ()


def write_results(workdir: pathlib.Path, results: Results) -> None:
  """Writes metrics.json, results.md, report.html and figures/.

  metrics.json comes last: where it is, the evaluation is complete.
  """
  (workdir / FIGURES).mkdir(parents=True, exist_ok=True)
  for figure in results.figures:
    if figure.svg:
      path = workdir / FIGURES / f"{figure.name}.svg"
      path.write_text(figure.svg + "\n", encoding="utf-8")
    else:
      (workdir / FIGURES / f"{figure.name}.png").write_bytes(figure.png)
  table = Table("", list(results.row), [list(results.row.values())])
  (workdir / ROW).write_text(markdown_table(table) + "\n", encoding="utf-8")
  page = render_page(
    results.title,
    facts={k: _fact(v) for k, v in results.provenance.items()},
    tables=results.tables,
    figures=results.figures,
    notes=results.notes,
  )
  (workdir / REPORT).write_text(page, encoding="utf-8")
  whole = {**results.metrics, "provenance": dict(results.provenance)}
  beside = workdir / f"{METRICS}.tmp"
  beside.write_text(json.dumps(_plain(whole), indent=1) + "\n")
  beside.replace(workdir / METRICS)


def read_metrics(workdir: pathlib.Path) -> dict[str, Any]:
  """Reads metrics.json of a finished evaluation.

  Raises:
    FileNotFoundError: there is none.
  """
  path = workdir / METRICS
  if not path.is_file():
    raise FileNotFoundError(
      f"{workdir} holds no {METRICS}: it is no folder of a finished evaluation"
    )
  return json.loads(path.read_text())


def _fact(value: Any) -> str:
  return value if isinstance(value, str) else json.dumps(_plain(value))


def _plain(value: Any) -> Any:
  """JSON values; NaN and Inf, which JSON lacks, become null."""
  if isinstance(value, Mapping):
    return {str(k): _plain(v) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(v) for v in value]
  if hasattr(value, "tolist"):
    return _plain(value.tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
