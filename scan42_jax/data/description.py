"""Puts the counts of a dataset into tables, charts and thumbnails."""

import collections
import json
import math
from collections.abc import Sequence

from scan42_jax.data import images, statistics
from scan42_jax.data.sources import FilmSource
from scan42_jax.data.statistics import Counts, SplitCounts
from scan42_jax.datasets import labels
from scan42_jax.pages.charts import Bar, bar_chart
from scan42_jax.pages.page import Figure, Table

_THUMBNAIL_PX = 192
_CODES = {
  "positive": labels.POSITIVE,
  "negative": labels.NEGATIVE,
  "uncertain": labels.UNCERTAIN,
  "not mentioned": labels.NOT_MENTIONED,
  "missing": labels.MISSING,
}
_SHARES = {"smallest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95,
           "largest": 1.0}  # fmt: skip


def tables(splits: Sequence[SplitCounts]) -> list[Table]:
  """Returns all tables of a dataset, in reading order."""
  return [
    _films(splits),
    _shares("Views", splits, [split.views for split in splits]),
    _shares("Sex", splits, [split.sexes for split in splits]),
    _shares("Age in years", splits, [split.ages for split in splits], _by_age),
    *_labels(splits),
    _sizes(splits),
  ]


def facts(manifest: dict) -> dict[str, str]:
  """Returns what the manifest says of the dataset."""
  skipped = sum(manifest["skipped"].values())
  reasons = json.dumps(manifest["skipped"]) if skipped else ""
  return {
    "dataset": f"{manifest['name']} ({manifest['dataset']})",
    "version": manifest["version"],
    "short side": f"at most {manifest['short_side_px']} pixels",
    "equalised": "yes" if manifest["equalized"] else "no",
    "skipped": f"{skipped} {reasons}".strip(),
    "quarantined": str(manifest["quarantined"]),
    "digest": manifest["digest"],
  }


def prevalence_chart(splits: Sequence[SplitCounts]) -> list[Figure]:
  """Draws the share of positive films for each label, if there is any."""
  totals = _label_totals(splits)
  values = {n: statistics.positives(counts) for n, counts in totals.items()}
  known = [value for value in values.values() if not math.isnan(value)]
  if not known:
    return []
  bars = [
    Bar(name, value, text=f"{totals[name][labels.POSITIVE]:,}")
    for name, value in values.items()
  ]
  top = max(max(known), 0.01)
  chart = bar_chart(
    bars,
    label="positive, of positive and negative films",
    value_range=(0.0, math.ceil(top * 20) / 20),
  )
  return [
    Figure(
      "prevalence", "How often each label is positive.", svg=chart, wide=True
    )
  ]


def thumbnails(source: FilmSource, count: int) -> list[Figure]:
  """Draws films spread evenly over a split, shrunk.

  Args:
    source: the split.
    count: films, at most.
  """
  count = min(count, len(source))
  return [
    _thumbnail(source, number * len(source) // count) for number in range(count)
  ]


def _thumbnail(source: FilmSource, position: int) -> Figure:
  film = source[position]
  pixels = images.shrink(
    images.decode_film(film["image"]), short_side_px=_THUMBNAIL_PX
  )
  age = film["age_years"]
  found = [
    name
    for name, code in zip(source.label_names, film["labels"], strict=True)
    if code == labels.POSITIVE
  ]
  words = [
    source.split,
    film["image_id"],
    film["view"],
    film["sex"],
    "" if math.isnan(age) else f"{age:.0f} years",
    ", ".join(found),
  ]
  return Figure(
    f"{source.split}-{position}",
    " · ".join(filter(None, words)),
    png=images.encode_png(pixels),
  )


def _films(splits) -> Table:
  rows = [("films", [split.num_films for split in splits])]
  rows += [("known patients", [len(split.patients) for split in splits])]
  rows += [
    ("films of no known patient",
     [split.num_films - split.patients.total() for split in splits]),
  ]  # fmt: skip
  for extra in ("report", "masks", "boxes"):
    rows.append((f"with {extra}", [split.extras[extra] for split in splits]))
  body = [
    (name, *(f"{n:,}" for n in numbers), f"{sum(numbers):,}")
    for name, numbers in rows
  ]
  most = [max(split.patients.values(), default=0) for split in splits]
  body.append(
    ("most films of a patient", *(f"{n:,}" for n in most), f"{max(most):,}")
  )
  return Table("Films", ("", *(s.split for s in splits), "all"), body)


def _shares(title, splits, counts, order=None) -> Table:
  total = sum(counts, Counts())
  names = sorted(total, key=order or (lambda name: (-total[name], name)))
  rows = [
    (name, *(_share(one[name], one.total()) for one in (*counts, total)))
    for name in names
  ]
  return Table(title, ("", *(s.split for s in splits), "all"), rows)


def _labels(splits) -> list[Table]:
  totals = _label_totals(splits)
  if not totals:
    return []
  codes = [
    (name, *(_share(counts[code], counts.total()) for code in _CODES.values()))
    for name, counts in totals.items()
  ]
  by_split = [
    (name, *(_percent(statistics.positives(s.labels[name])) for s in splits))
    for name in totals
  ]
  return [
    Table(
      "Labels",
      ("", *_CODES),
      codes,
      note="Not mentioned: blank in a table made from reports. Missing: nobody "
      "looked for it.",
    ),
    Table(
      "Positive, of positive and negative films",
      ("", *(s.split for s in splits)),
      by_split,
    ),
  ]


def _label_totals(splits) -> dict[str, Counts]:
  totals = collections.defaultdict(Counts)
  for split in splits:
    for name, counts in split.labels.items():
      totals[name] += counts
  return dict(totals)


def _sizes(splits) -> Table:
  sizes = sum((split.sizes for split in splits), Counts())
  measures = {
    "height": lambda size: size[0],
    "width": lambda size: size[1],
    "short side": min,
    "long side": max,
  }
  rows = [
    (
      name,
      *(
        f"{statistics.quantile(sizes, share, key=measure):,}"
        for share in _SHARES.values()
      ),
    )
    for name, measure in measures.items()
  ]
  return Table("Stored size in pixels", ("", *_SHARES), rows)


def _by_age(band: str) -> tuple[bool, int]:
  unknown = band == statistics.UNKNOWN
  return unknown, 0 if unknown else int(band.rstrip("+").partition("-")[0])


def _share(number: int, total: int) -> str:
  return f"{number:,} ({_percent(number / total)})" if number else "0"


def _percent(share: float) -> str:
  return "" if math.isnan(share) else f"{100 * share:.1f} %"
