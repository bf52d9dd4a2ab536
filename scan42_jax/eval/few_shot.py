"""Logistic regression on a handful of patients, drawn several times.

Which patients are drawn follows from the seed and their ids alone, so every
encoder learns from the same ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from scan42_jax.eval.choosing import best_of
from scan42_jax.eval.frozen import (
  POOLED,
  Fitted,
  TokenSplits,
  head_scores,
  judge,
)
from scan42_jax.eval.heads import LinearHead
from scan42_jax.eval.logistic import Scaling, logistic_path
from scan42_jax.eval.measuring import MeanFigures, choose_thresholds, measure
from scan42_jax.eval.scored import Scored
from scan42_jax.eval.settings import EvalSettings
from scan42_jax.eval.splits import KnownFilms
from scan42_jax.pages.page import Table
from scan42_jax.types import Bool, Int


def draw_films(
  films: KnownFilms, *, shots: int, seed: tuple[int, ...], exclusive: bool
) -> Bool[np.ndarray, "N C"]:
  """Draws patients; says which labels of which films may be learnt from.

  For a finding: patients that have it, by their films that show it, and as
  many that never have it. For exclusive classes: patients with films of each
  class, by those films.

  Args:
    films: training films.
    shots: patients of each class.
    seed: of the draw.
    exclusive: the labels are classes.

  Returns:
    A column is False throughout where there are too few patients.
  """
  drawn = np.zeros(films.labels.shape, bool)
  positive = (films.labels > 0.5) & films.valid
  negative = (films.labels <= 0.5) & films.valid
  names = np.array([p or f"film {i}" for i, p in enumerate(films.patients)])
  for c in range(drawn.shape[1]):
    rng = np.random.default_rng([*seed, shots, c])
    with_it = _some_patients(names, positive[:, c], shots, rng)
    if exclusive:
      drawn[with_it] = True
      continue
    never = negative[:, c] & ~np.isin(names, names[positive[:, c]])
    without = _some_patients(names, never, shots, rng)
    if len(with_it) and len(without):
      drawn[with_it, c] = drawn[without, c] = True
  return drawn


def _some_patients(names, rows, shots, rng) -> Int[np.ndarray, "M"]:
  """Rows of so many patients; none if there are fewer."""
  patients = np.unique(names[rows])
  if len(patients) < shots:
    return np.arange(0)
  chosen = rng.choice(patients, shots, replace=False)
  return np.flatnonzero(rows & np.isin(names, chosen))


def fit_few_shot(splits: TokenSplits, settings: EvalSettings) -> Fitted:
  """Fits and tests every number of patients and every draw.

  Returns:
    The first draw of the most patients stands for the whole in predictions and
    figures; the table has them all.
  """
  found = list(_all_draws(splits, settings))
  if not found:
    raise ValueError(
      "config.few_shot.shots: no finding has"
      f" {min(settings.few_shot.shots)} patients with it and as many without"
    )
  most = max(one.shots for one in found)
  shown = next(one for one in found if one.shots == most)
  chosen = f"{POOLED}, {most} patients of each class, first draw"
  return Fitted(
    validation=shown.validation,
    test=shown.test,
    head=shown.head,
    choice={
      "chosen": chosen,
      "draws": [
        {
          "shots": one.shots,
          "draw": one.draw,
          **dataclasses.asdict(one.figures),
        }
        for one in found
      ],
    },
    chosen=chosen,
    tables=[_table(found, settings)],
  )


@dataclasses.dataclass(frozen=True)
class _Draw:
  shots: int
  draw: int
  films: int
  head: LinearHead
  validation: Scored
  test: Scored
  figures: MeanFigures


def _all_draws(splits: TokenSplits, settings: EvalSettings) -> Iterator[_Draw]:
  train, exclusive = splits.train, settings.data.exclusive
  columns = POOLED.columns(train.tokens.shape[1], width=splits.width)
  # No label takes part in it, so all training films may.
  scaling = Scaling.of(train.tokens[:, columns])
  for shots in settings.few_shot.shots:
    for draw in range(settings.few_shot.draws):
      counts = draw_films(
        train.films,
        shots=shots,
        seed=(settings.seed, draw),
        exclusive=exclusive,
      )
      learnt = counts.any(axis=0)
      whole = train.films.labels[counts.any(axis=1)].any(axis=0).all()
      if not learnt.any() or (exclusive and not whole):
        continue
      head = _fit(splits, settings, counts, scaling)
      validation, test = (
        _without(head_scores(split, head, splits, exclusive=exclusive), learnt)
        for split in (splits.validation, splits.test)
      )
      thresholds = choose_thresholds(
        validation, wanted_specificity=settings.report.specificity
      )
      figures = measure(
        test, thresholds, settings=settings.report, seed=settings.seed
      )
      yield _Draw(
        shots=shots,
        draw=draw,
        films=int(counts.any(axis=1).sum()),
        head=head,
        validation=validation,
        test=test,
        figures=figures.means[-1],
      )


def _fit(splits, settings, counts, scaling) -> LinearHead:
  """Fits the path on the drawn films; the best on validation is taken."""
  train = splits.train
  rows = np.flatnonzero(counts.any(axis=1))
  # Filled up to a power of two with films that do not count: few programs.
  filler = np.zeros(2 ** int(np.ceil(np.log2(len(rows)))) - len(rows), int)
  rows, valid = np.concatenate([rows, filler]), counts[rows]
  valid = np.concatenate([valid, np.zeros((len(filler), valid.shape[1]), bool)])
  columns = POOLED.columns(train.tokens.shape[1], width=splits.width)
  path = logistic_path(
    train.tokens[rows][:, columns],
    train.films.labels[rows],
    valid,
    settings=settings.logistic,
    feature_set=POOLED,
    scaling=scaling,
    exclusive=settings.data.exclusive,
  )
  known = splits.validation
  films = _without_labels(known.films, counts.any(axis=0))
  (_, head), _ = best_of(
    path,
    lambda one: judge(
      films, one[1].scores(known.tokens, width=splits.width), settings
    ),
  )
  return head


def _without(scored: Scored, learnt: Bool[np.ndarray, "C"]) -> Scored:
  """Makes labels that nothing was learnt of undefined."""
  films = _without_labels(scored.films, learnt)
  return dataclasses.replace(scored, films=films)


def _without_labels(films: KnownFilms, learnt) -> KnownFilms:
  return dataclasses.replace(films, valid=films.valid & learnt)


def _table(found: list[_Draw], settings: EvalSettings) -> Table:
  rows = [
    (
      str(one.shots),
      str(one.draw + 1),
      str(one.films),
      f"{one.figures.auroc:.3f}",
      f"{one.figures.auprc:.3f}",
      str(len(one.figures.labels)),
    )
    for one in found
  ]
  for shots in dict.fromkeys(one.shots for one in found):
    draws = [one.figures for one in found if one.shots == shots]
    rows.append(
      (
        str(shots),
        f"mean of {len(draws)}",
        "",
        *(
          f"{np.mean(v):.3f} ({np.min(v):.3f} to {np.max(v):.3f})"
          for v in ([d.auroc for d in draws], [d.auprc for d in draws])
        ),
        "",
      )
    )
  return Table(
    "Few patients",
    ("patients of each class", "draw", "films", "AUROC", "AUPRC", "labels"),
    rows,
    note="Means over the labels that are defined and have enough patients."
    " In brackets: smallest and largest of the draws, no interval."
    f" The draws follow from seed {settings.seed} and are the same for every"
    " encoder.",
  )
