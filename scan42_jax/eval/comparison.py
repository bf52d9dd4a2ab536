"""Two finished evaluations of the same test films, side by side.

Every difference is B less A on the same resamples of patients.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from scan42_jax.eval.areas import MIN_POSITIVES, Areas, label_sets, steady
from scan42_jax.eval.results.writing import read_metrics
from scan42_jax.eval.scored import PREDICTIONS, Scored, read_predictions
from scan42_jax.metrics.bootstrap import (
  Estimate,
  estimate,
  patient_bootstrap,
)
from scan42_jax.pages.charts import Bar, bar_chart
from scan42_jax.pages.page import (
  Figure,
  Table,
  markdown_table,
  render_page,
  text_table,
)
from scan42_jax.types import Float

_VALUE = "value:"


@dataclasses.dataclass(frozen=True)
class Difference:
  """One number of two runs.

  Attributes:
    metric: 'AUROC', 'AUPRC' or 'mean'.
    name: label, mean over labels, or quantity.
    first: of A, of all test films.
    second: of B.
    gain: B less A, with its interval.
  """

  metric: str
  name: str
  first: float
  second: float
  gain: Estimate


def compare(
  first: pathlib.Path,
  second: pathlib.Path,
  output: pathlib.Path,
  *,
  draws: int = 500,
  seed: int = 0,
) -> list[Difference]:
  """Compares two work folders and writes the comparison.

  Args:
    first: A.
    second: B.
    output: gets comparison.md and comparison.html.
    draws: resamples.
    seed: of the resamples.

  Raises:
    FileNotFoundError: a folder is of no finished evaluation.
    ValueError: they are not of the same test films, labels and task.
  """
  runs = read_metrics(first), read_metrics(second)
  tasks = [run["task"] for run in runs]
  if len(set(tasks)) != 1:
    raise ValueError(f"{first} is a {tasks[0]}, {second} a {tasks[1]}")
  differ = _by_label if tasks[0] == "classification" else _by_value
  found, counts = differ(first, second, draws=draws, seed=seed, run=runs[1])
  _write(output, (first, second), runs, found, f"{counts}, {draws} resamples")
  return found


def _by_label(
  first: pathlib.Path, second: pathlib.Path, *, draws: int, seed: int, run
) -> tuple[list[Difference], str]:
  """Differences of every area of two classifications."""
  one, two = (read_predictions(p / PREDICTIONS) for p in (first, second))
  two = _aligned(one, two, first, second)
  films = one.films
  paper = run["provenance"]["config"]["report"]["paper_labels"]
  kept = {n: steady(films, c) for n, c in label_sets(films, paper).items()}
  areas = [Areas(films, scored.scores, means=kept) for scored in (one, two)]
  by_patient = run["provenance"]["config"]["report"]["resample"] == "patient"
  samples = patient_bootstrap(
    lambda rows: areas[1](rows) - areas[0](rows),
    films.patients if by_patient else [""] * len(films),
    draws=draws,
    seed=seed,
  )
  values = areas[0](), areas[1]()
  found = []
  for i, (metric, kind) in enumerate(areas[0].names):
    name = kind
    if kind.startswith("mean of "):
      which = kept[kind.removeprefix("mean of ")]
      name = f"{kind}, {len(which)} with {MIN_POSITIVES} or more positives"
    gain = estimate(values[1][i] - values[0][i], samples[:, i])
    found.append(
      Difference(metric.upper(), name, values[0][i], values[1][i], gain)
    )
  known = films.num_patients if by_patient else 0
  return found, f"{len(films)} films of {known or 'unknown'} patients"


def _aligned(
  one: Scored, two: Scored, first: pathlib.Path, second: pathlib.Path
) -> Scored:
  """Returns B's films in A's order.

  Raises:
    ValueError: the films or their labels differ.
  """
  if list(one.films.label_names) != list(two.films.label_names):
    raise ValueError(f"{first} and {second} are not about the same labels")
  places = {name: i for i, name in enumerate(two.films.image_ids)}
  if set(places) != set(one.films.image_ids):
    raise ValueError(f"{first} and {second} are not about the same test films")
  two = two.take(np.array([places[name] for name in one.films.image_ids]))
  for mine, other in [
    (one.films.labels, two.films.labels),
    (one.films.valid, two.films.valid),
  ]:
    if not np.array_equal(mine, other):
      raise ValueError(
        f"{first} and {second} label the same test films in different ways:"
        " their label policies differ"
      )
  return two


def _by_value(
  first: pathlib.Path, second: pathlib.Path, *, draws: int, seed: int, run
) -> tuple[list[Difference], str]:
  """Differences of the means of every `value:` column by film."""
  del run
  one, two = _read_values(first), _read_values(second)
  if one["names"] != two["names"] or one["images"] != two["images"]:
    raise ValueError(f"{first} and {second} are not about the same test films")

  def means(values: Float[np.ndarray, "M C"]) -> Float[np.ndarray, "C"]:
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    count = known.sum(axis=0)
    return np.where(count, total / np.maximum(count, 1), np.nan)

  samples = patient_bootstrap(
    lambda rows: means(two["values"][rows]) - means(one["values"][rows]),
    one["patients"],
    draws=draws,
    seed=seed,
  )
  pair = means(one["values"]), means(two["values"])
  found = [
    Difference("mean", name, a, b, estimate(b - a, s))
    for name, a, b, s in zip(one["names"], *pair, samples.T, strict=True)
  ]
  known = len(set(one["patients"]) - {""})
  return found, f"{len(one['images'])} films of {known or 'unknown'} patients"


def _read_values(workdir: pathlib.Path) -> dict[str, Any]:
  """Reads the test films' `value:` columns, sorted by film."""
  path = workdir / PREDICTIONS
  if not path.is_file():
    raise FileNotFoundError(f"{path}: no such file")
  with path.open(newline="", encoding="utf-8") as stream:
    rows = [
      r for r in csv.DictReader(stream) if r.get("split", "test") == "test"
    ]
  rows.sort(key=lambda row: row["image_id"])
  columns = [c for c in (rows[0] if rows else ()) if c.startswith(_VALUE)]
  if not columns:
    raise ValueError(f"{path} has no column of values by film")
  return {
    "names": [c.removeprefix(_VALUE) for c in columns],
    "images": [row["image_id"] for row in rows],
    "patients": [row["patient_id"] for row in rows],
    "values": np.array([[float(r[c] or "nan") for c in columns] for r in rows]),
  }


def _write(
  output: pathlib.Path,
  folders: tuple[pathlib.Path, pathlib.Path],
  runs: Sequence[dict[str, Any]],
  found: Sequence[Difference],
  counts: str,
) -> None:
  table = Table(
    "Differences",
    ("metric", "of", "A", "B", "B - A (95 %)", "remark"),
    [
      (
        d.metric,
        d.name,
        _number(d.first),
        _number(d.second),
        _signed(d.gain),
        _remark(d.gain),
      )
      for d in found
    ],
    note=f"Paired bootstrap: the same resamples for both; {counts}.",
  )
  facts = {
    f"{letter} {name}": str(run["provenance"][key])
    for letter, run in zip("AB", runs, strict=True)
    for name, key in [("encoder", "encoder"), ("command", "command")]
  }
  title = f"A {folders[0]} against B {folders[1]}"
  print(title, text_table(table), table.note, sep="\n", flush=True)
  output.mkdir(parents=True, exist_ok=True)
  lines = [f"# {title}", markdown_table(table), table.note]
  lines += [f"- {name}: {value}" for name, value in facts.items()]
  (output / "comparison.md").write_text("\n\n".join(lines) + "\n")
  page = render_page(
    title, facts=facts, tables=[table], figures=[_chart(found)]
  )
  (output / "comparison.html").write_text(page, encoding="utf-8")


def _chart(found: Sequence[Difference]) -> Figure:
  bars = [
    Bar(d.name, d.gain.value, d.gain.low, d.gain.high, _signed(d.gain))
    for d in found
    if d.metric != "AUPRC"
  ]
  ends = [abs(v) for b in bars for v in (b.value, b.low, b.high)]
  most = max([0.05, *(v for v in ends if not math.isnan(v))])
  most = math.ceil(20 * most) / 20
  return Figure(
    "differences",
    f"{found[0].metric} of B less that of A, 95 % interval.",
    bar_chart(bars, label="B - A", value_range=(-most, most), reference=0.0),
    wide=True,
  )


def _remark(gain: Estimate) -> str:
  if math.isnan(gain.value):
    return "undefined: one class only, or too few positives"
  if math.isnan(gain.low):
    return ""
  remarks = []
  if gain.low > 0 or gain.high < 0:
    remarks.append(f"interval {'above' if gain.low > 0 else 'below'} 0")
  if gain.undefined_draws:
    remarks.append(f"{gain.undefined_draws} draws undefined")
  return ", ".join(remarks)


def _signed(gain: Estimate) -> str:
  if math.isnan(gain.value):
    return "undefined"
  if math.isnan(gain.low):
    return f"{gain.value:+.3f}"
  return f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


def _number(value: float) -> str:
  return "" if math.isnan(value) else f"{value:.3f}"
