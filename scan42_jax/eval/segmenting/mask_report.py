"""Tables, charts, overlays and notes of a segmentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scan42_jax.eval.results.pictures import colour_names, draw_masks
from scan42_jax.eval.segmenting.mask_scores import (
  AVERAGE,
  EVERY,
  KINDS,
  SIDES,
  UNION,
  Kind,
  MaskScores,
)
from scan42_jax.eval.segmenting.mask_settings import SegmentationSettings
from scan42_jax.eval.segmenting.masked_films import MaskedFilm, MaskedSplits
from scan42_jax.metrics.bootstrap import Estimate, estimate, patient_bootstrap
from scan42_jax.pages.charts import Bar, Line, bar_chart, line_chart
from scan42_jax.pages.page import Figure, Table
from scan42_jax.types import Float, UInt8

OURS = "this encoder"

_TITLES: Mapping[Kind, tuple[str, str]] = {
  "dice": (
    "Dice, pooled",
    "Pixels of all films are summed before the division, so large films weigh"
    " more. A structure that is in neither mask counts 1.",
  ),
  "dice per film": (
    "Dice per film",
    "The mean over films, each by itself; a structure that is in neither mask"
    " of a film counts 1.",
  ),
  "iou": (
    "Intersection over union, pooled",
    "A structure that is in neither mask counts 0.",
  ),
  "hd95": (
    "Hausdorff distance, 95 %, in pixels",
    "The mean over films. The larger of both ways' 95th percentiles from"
    " outline to outline; 0 where both masks are empty, left out where one is.",
  ),
}


@dataclasses.dataclass(frozen=True)
class Judged:
  """A row of the tables: whose masks, and their figures.

  Attributes:
    name: of the row.
    scores: by film.
    figures: with intervals, by kind and name.
  """

  name: str
  scores: MaskScores
  figures: Mapping[tuple[Kind, str], Estimate]


def judge_rows(
  scores: Mapping[str, MaskScores], settings: SegmentationSettings
) -> tuple[list[Judged], list[dict[str, Any]]]:
  """Puts intervals on all figures, and on the differences to the first row.

  All rows are resampled together: an interval of a difference is of pairs.

  Returns:
    The rows, and for each later row {"row", "kind", "name", value, ...}.
  """
  rows = list(scores.values())
  groups = [rows[0].patients, [""] * len(rows[0].patients)]
  samples = patient_bootstrap(
    lambda drawn: np.stack([one(drawn) for one in rows]),
    groups[settings.report.resample == "image"],
    draws=settings.report.draws,
    seed=settings.seed,
  )
  values = np.stack([one() for one in rows])
  judged = [
    Judged(name, one, _estimates(one.names, values[i], samples[:, i]))
    for i, (name, one) in enumerate(scores.items())
  ]
  differences = []
  for i, name in enumerate(list(scores)[1:], start=1):
    found = _estimates(
      rows[0].names, values[0] - values[i], samples[:, 0] - samples[:, i]
    )
    differences += [
      {"row": name, "kind": kind, "name": what, **dataclasses.asdict(value)}
      for (kind, what), value in found.items()
    ]
  return judged, differences


def _estimates(
  names: Sequence[tuple[Kind, str]],
  values: Float[np.ndarray, "F"],
  samples: Float[np.ndarray, "draws F"],
) -> dict[tuple[Kind, str], Estimate]:
  return {
    name: estimate(float(values[i]), samples[:, i])
    for i, name in enumerate(names)
  }


def tables(
  judged: Sequence[Judged], differences: Sequence[Mapping[str, Any]]
) -> list[Table]:
  """Returns one table for each kind of figure, and the paired differences."""
  found = []
  for kind in KINDS:
    title, note = _TITLES[kind]
    names = [name for k, name in judged[0].figures if k == kind]
    if kind == "hd95":
      note += _undefined(judged)
    rows = [
      (j.name, *(_text(j.figures[kind, name], kind) for name in names))
      for j in judged
    ]
    found.append(Table(title, ("masks of", *map(_plain, names)), rows, note))
  rows = [
    (d["row"], _plain(d["name"]), _text(_difference(d), "dice"))
    for d in differences
    if d["kind"] == "dice"
  ]
  found.append(
    Table(
      f"Pooled Dice of {OURS} minus that of the others",
      ("others", "structure", "difference (95 %)"),
      rows,
      "Both are evaluated on the same resamples.",
    )
  )
  return found


def _difference(row: Mapping[str, Any]) -> Estimate:
  names = [field.name for field in dataclasses.fields(Estimate)]
  return Estimate(**{name: row[name] for name in names})


def _text(value: Estimate, kind: Kind) -> str:
  if kind != "hd95" or np.isnan(value.low):
    return str(value)
  return f"{value.value:.1f} ({value.low:.1f} to {value.high:.1f})"


def _undefined(judged: Sequence[Judged]) -> str:
  """Says how many distances are missing."""
  counts = [
    f"{j.name} {int(np.isnan(j.scores.hd95).sum())}"
    for j in judged
    if np.isnan(j.scores.hd95).any()
  ]
  return f" Left out: {', '.join(counts)}." if counts else ""


def _plain(name: str) -> str:
  return name.replace("_", " ")


def headline(judged: Judged) -> dict[str, str]:
  """Returns the cells of a line in a table of many runs."""
  names = {
    UNION: "lungs, union",
    SIDES: "lungs, mean of sides",
    "heart": "heart",
    AVERAGE: "average (union, heart)",
    EVERY: EVERY,
  }
  return {
    f"Dice {title} (95 %)": str(judged.figures["dice", name])
    for name, title in names.items()
    if ("dice", name) in judged.figures
  }


def charts(judged: Sequence[Judged]) -> list[Figure]:
  """Draws pooled Dice by structure, and the Dice of films in order."""
  bars = [
    Bar(f"{_plain(name)}: {j.name}", v.value, v.low, v.high, f"{v.value:.3f}")
    for kind, name in judged[0].figures
    if kind == "dice"
    for j in judged
    for v in [j.figures[kind, name]]
  ]
  lines = []
  for j in judged:
    values = np.sort(j.scores.per_film())
    shares = (np.arange(len(values)) + 0.5) / len(values)
    lines.append(Line(j.name, shares, values))
  return [
    Figure(
      "dice",
      "Pooled Dice with 95 % intervals.",
      svg=bar_chart(bars, label="Dice"),
      wide=True,
    ),
    Figure(
      "films",
      "Dice of each film, mean over structures, from the worst to the best.",
      svg=line_chart(lines, x_label="share of films", y_label="Dice of a film"),
    ),
  ]


def overlays(
  scores: MaskScores,
  films: Sequence[MaskedFilm],
  segment: Callable[[MaskedFilm], UInt8[np.ndarray, "_ _"]],
) -> list[Figure]:
  """Draws the film with the best, the median and the worst Dice.

  Args:
    scores: of the films.
    films: in the same order; only three of them are opened.
    segment: predicts the classes of a film at its mask's size.
  """
  values = scores.per_film()
  order = np.argsort(values, kind="stable")
  places = {"best": -1, "median": (len(order) - 1) // 2, "worst": 0}
  colours = colour_names(scores.structures)
  found = []
  for name, place in places.items():
    row = int(order[place])
    film = films[row]
    found.append(
      Figure(
        f"overlay_{name}",
        f"The {name} film: Dice {values[row]:.3f}. Areas: drawn by the release."
        f" Lines: predicted. {colours.capitalize()}; sides are the patient's.",
        png=draw_masks(film.pixels, film.labels, segment(film)),
      )
    )
  return found


def notes(
  splits: MaskedSplits,
  settings: SegmentationSettings,
  *,
  leakage: str,
  mean_of: int,
) -> list[str]:
  """Returns the sentences that belong to every number."""
  test, data = splits.test, settings.data
  by = "patient" if settings.report.resample == "patient" else "image"
  if by == "patient" and not test.num_patients:
    by = "image, for the patients are unknown"
  found = [
    f"{len(test)} test films of {test.num_patients or 'unknown'} patients;"
    f" learnt from {len(splits.train)} films, chosen on"
    f" {len(splits.validation)}. Intervals: {settings.report.draws} resamples"
    f" by {by}.",
    "Every choice was made on validation films by pooled Dice at the encoder's"
    " input; the test films were scored once.",
    _scored_at(settings),
    f"The mean training mask is that of {mean_of} films, the likeliest class at"
    " each place. Where masks overlap, the later of"
    f" {', '.join(map(_plain, data.structures))} counts.",
  ]
  left_out = sum(films.left_out for films in splits)
  if left_out:
    found.append(f"{left_out} films without all of the masks are left out.")
  if settings.views.translate[0] == settings.views.translate[1]:
    share = settings.views.translate[0]
    found.append(
      f"As published, every shift was {share:+.0%} to the right and down."
    )
  found.append(leakage)
  if len(test) < 200:
    found.append(
      "So few films show that the path works, not that a model is good."
    )
  return found


def _scored_at(settings: SegmentationSettings) -> str:
  seen = (
    "the whole film, brought to a square"
    if settings.data.view == "whole"
    else "the middle square of the film"
  )
  where = (
    "the mask's original size"
    if settings.report.score_at == "mask"
    else "the size of the encoder's input; nothing beyond it counts"
  )
  return f"The encoder sees {seen}; masks are scored at {where}."
