"""Writes what training and evaluation share: table, page, and two lists."""

import collections
import csv
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from scan42_jax.data import images, overlap
from scan42_jax.data.exclusions import Edition, Exclusion
from scan42_jax.data.overlap import FilmSet, Overlap
from scan42_jax.pages.page import Figure, Table, render_page

Found = tuple[FilmSet, FilmSet, list[Overlap]]
"""A set for pretraining, one for evaluation, and what they share."""

_THUMBNAIL_PX = 256
_NOTE = (
  "Patients are compared where both sets have ids of one origin. Near-copies "
  "are found by their looks and may be mistaken; look at them before you trust "
  "the numbers."
)


def summary(found: Sequence[Found]) -> Table:
  """Returns a line for each pair of sets, counting films for pretraining."""
  rows = []
  for films, others, overlaps in found:
    kinds = collections.defaultdict(set)
    for one in overlaps:
      kinds[one.kind].add(one.film)
    comparable = films.patients_of == others.patients_of
    numbers = [len(kinds[k]) for k in (overlap.PIXELS, overlap.COPY)]
    rows.append(
      (
        films.name,
        f"{len(films.image_ids):,}",
        others.name,
        f"{len(others.image_ids):,}",
        f"{len(kinds[overlap.PATIENT]):,}" if comparable else "not comparable",
        *(f"{number:,}" for number in numbers),
        f"{len(set().union(*kinds.values())):,}",
      )
    )
  columns = ("pretraining", "films", "evaluation", "films", overlap.PATIENT,
             overlap.PIXELS, overlap.COPY, "to leave out")  # fmt: skip
  return Table("Films of pretraining that evaluation has, too", columns, rows)


def write_pairs(path: pathlib.Path, found: Iterable[Found]) -> None:
  """Writes every overlap as a line of a CSV file."""
  with path.open("w", newline="") as stream:
    writer = csv.writer(stream)
    writer.writerow(
      ("pretraining", "image_id", "evaluation", "twin_image_id", "kind",
       "similarity")
    )  # fmt: skip
    for films, others, overlaps in found:
      writer.writerows(
        (films.name, films.image_ids[one.film], others.name,
         others.image_ids[one.twin], one.kind, f"{one.similarity:.3f}")
        for one in overlaps
      )  # fmt: skip


def write_page(
  path: pathlib.Path,
  found: Sequence[Found],
  *,
  facts: dict[str, str],
  thumbnails: int,
) -> None:
  """Writes the page; it shows pairs of films only where that is asked for.

  Args:
    path: of the page.
    found: overlaps.
    facts: what was run.
    thumbnails: near-duplicates of each pair of sets to show, the least similar
      ones first.
  """
  figures = [
    _pair(films, others, one)
    for films, others, overlaps in found
    for one in sorted(
      (one for one in overlaps if one.kind == overlap.COPY),
      key=lambda one: one.similarity,
    )[:thumbnails]
  ]
  path.write_text(
    render_page(
      "Films that pretraining and evaluation share",
      facts=facts,
      tables=[summary(found)],
      figures=figures,
      notes=[_NOTE],
    )
  )


def exclusions(
  found: Iterable[Found],
) -> tuple[list[Edition], list[Exclusion]]:
  """Returns what was looked through, and the films to leave out."""
  checked: dict[Edition, None] = {}
  reasons: dict[tuple[Edition, int, str], set[str]] = {}
  for films, others, overlaps in found:
    checked[films.source.edition] = None
    for one in overlaps:
      key = (films.source.edition, one.film, films.image_ids[one.film])
      reasons.setdefault(key, set()).add(f"{one.kind} in {others.name}")
  excluded = [
    Exclusion(
      edition=edition,
      position=film,
      image_id=image_id,
      reason="; ".join(sorted(why)),
    )
    for (edition, film, image_id), why in reasons.items()
  ]
  excluded.sort(key=lambda one: (one.edition.dataset, one.position))
  return list(checked), excluded


def _pair(films: FilmSet, others: FilmSet, one: Overlap) -> Figure:
  pictures = [
    images.resize_box(
      images.decode_film(source[position]["image"]),
      (_THUMBNAIL_PX, _THUMBNAIL_PX),
    )
    for source, position in (
      (films.source, one.film),
      (others.source, one.twin),
    )
  ]
  caption = (
    f"{films.name}: {films.image_ids[one.film]} · {others.name}: "
    f"{others.image_ids[one.twin]} · similarity {one.similarity:.3f}"
  )
  return Figure("pair", caption, png=images.encode_png(np.hstack(pictures)))
