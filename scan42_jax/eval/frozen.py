"""Protocols that leave the encoder as it is: linear, logistic, k-NN.

All of them learn from cached tokens of training films and choose on those of
validation films; test films are scored once, by what was chosen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from scan42_jax.eval.areas import label_sets
from scan42_jax.eval.choosing import best_of, macro_mean
from scan42_jax.eval.heads import FeatureSet, LinearHead
from scan42_jax.eval.linear_grid import train_grid
from scan42_jax.eval.logistic import logistic_path
from scan42_jax.eval.scored import Scored
from scan42_jax.eval.settings import EvalSettings
from scan42_jax.eval.splits import KnownFilms
from scan42_jax.metrics.representation import neighbour_votes
from scan42_jax.pages.page import Table
from scan42_jax.types import Float

POOLED = FeatureSet(1, True)
"""What logistic regression sees."""


@dataclasses.dataclass(frozen=True)
class TokenSplit:
  """A split as frozen protocols see it: tokens and what is known of films."""

  tokens: Float[np.ndarray, "N F"]
  films: KnownFilms


@dataclasses.dataclass(frozen=True)
class TokenSplits:
  """The three splits, and the width of a token."""

  train: TokenSplit
  validation: TokenSplit
  test: TokenSplit
  width: int


@dataclasses.dataclass(frozen=True)
class Fitted:
  """What a protocol came to.

  Attributes:
    validation: films that chose, with scores of what was chosen.
    test: test films with the same.
    head: what was chosen; None where it is no linear head.
    choice: what was chosen and all that was judged, JSON values.
    chosen: the same in one line.
    tables: of the protocol's own.
  """

  validation: Scored
  test: Scored
  head: LinearHead | None
  choice: dict[str, Any]
  chosen: str
  tables: Sequence[Table] = ()


def judge(
  films: KnownFilms, scores: Float[np.ndarray, "N C"], settings: EvalSettings
) -> float:
  """Returns the mean that choices are made by: the paper's labels, or all."""
  columns = list(label_sets(films, settings.report.paper_labels).values())[-1]
  return macro_mean(
    films.labels, scores, films.valid, metric=settings.metric, columns=columns
  )


def fit_linear(splits: TokenSplits, settings: EvalSettings) -> Fitted:
  """Trains the grid of linear heads and keeps the best on validation."""
  s = settings.linear
  most = splits.train.tokens.shape[1] // splits.width - 1
  sets = [
    FeatureSet(layers, mean)
    # An encoder of fewer blocks has fewer class tokens.
    for layers in dict.fromkeys(min(n, most) for n in s.layers)
    for mean in s.patch_means
  ]
  grid = train_grid(
    splits.train.tokens,
    splits.train.films.labels,
    splits.train.films.valid,
    width=splits.width,
    sets=sets,
    settings=s,
    exclusive=settings.data.exclusive,
    seed=settings.seed,
  )
  best, values = best_of(
    grid,
    lambda one: judge(
      splits.validation.films,
      one.head.scores(splits.validation.tokens, width=splits.width),
      settings,
    ),
  )
  tried = [
    {
      "features": str(one.head.features),
      "learning_rate": one.learning_rate,
      f"validation_{settings.metric}": value,
    }
    for one, value in zip(grid, values, strict=True)
  ]
  chosen = f"{best.head.features}, learning rate {best.learning_rate:g}"
  return _fitted(splits, best.head, settings, tried=tried, chosen=chosen)


def fit_logistic(splits: TokenSplits, settings: EvalSettings) -> Fitted:
  """Fits the path of logistic regressions and keeps the best on validation."""
  train, width = splits.train, splits.width
  columns = POOLED.columns(train.tokens.shape[1], width=width)
  path = list(
    logistic_path(
      train.tokens[:, columns],
      train.films.labels,
      train.films.valid,
      settings=settings.logistic,
      feature_set=POOLED,
      exclusive=settings.data.exclusive,
    )
  )
  (l2, head), values = best_of(
    path,
    lambda one: judge(
      splits.validation.films,
      one[1].scores(splits.validation.tokens, width=width),
      settings,
    ),
  )
  tried = [
    {"l2": strength, f"validation_{settings.metric}": value}
    for (strength, _), value in zip(path, values, strict=True)
  ]
  return _fitted(
    splits, head, settings, tried=tried, chosen=f"{POOLED}, l2 {l2:g}"
  )


def fit_knn(splits: TokenSplits, settings: EvalSettings) -> Fitted:
  """Lets training films vote; validation says how many."""
  train, seen = splits.train, FeatureSet(1, False)
  columns = seen.columns(train.tokens.shape[1], width=splits.width)

  def votes(split: TokenSplit, neighbours: int) -> Scored:
    shares = neighbour_votes(
      split.tokens[:, columns],
      train.tokens[:, columns],
      labels=train.films.labels,
      valid=train.films.valid,
      neighbours=neighbours,
      temperature=settings.knn.temperature,
    ).astype(np.float64)
    return Scored(split.films, shares, shares)

  candidates = [
    (k, votes(splits.validation, k))
    for k in dict.fromkeys(
      min(k, len(train.films)) for k in settings.knn.neighbours
    )
  ]
  (neighbours, validation), values = best_of(
    candidates,
    lambda one: judge(splits.validation.films, one[1].scores, settings),
  )
  chosen = f"{seen}, {neighbours} neighbours"
  tried = [
    {"neighbours": k, f"validation_{settings.metric}": value}
    for (k, _), value in zip(candidates, values, strict=True)
  ]
  return Fitted(
    validation=validation,
    test=votes(splits.test, neighbours),
    head=None,
    choice={"chosen": chosen, "tried": tried},
    chosen=chosen,
  )


def head_scores(
  split: TokenSplit, head: LinearHead, splits: TokenSplits, *, exclusive: bool
) -> Scored:
  """Scores the films of a split by a head."""
  logits = head.scores(split.tokens, width=splits.width)
  return Scored.from_logits(split.films, logits, exclusive=exclusive)


def _fitted(splits, head, settings, *, tried, chosen) -> Fitted:
  exclusive = settings.data.exclusive
  return Fitted(
    validation=head_scores(
      splits.validation, head, splits, exclusive=exclusive
    ),
    test=head_scores(splits.test, head, splits, exclusive=exclusive),
    head=head,
    choice={"chosen": chosen, "tried": tried},
    chosen=chosen,
  )
