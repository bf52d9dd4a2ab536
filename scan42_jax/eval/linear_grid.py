"""Many linear heads on frozen features, trained as one batched computation.

Every learning rate and every set of features has a head of its own. Heads share
the batches and nothing else, so each comes out as if it were trained alone.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.eval.heads import FeatureSet, LinearHead, label_loss
from scan42_jax.eval.settings import LinearSettings
from scan42_jax.types import Array, Bool, Float

_STEPS_AT_ONCE = 50  # Films of so many steps are on the device at a time.


@dataclasses.dataclass(frozen=True)
class GridHead:
  """A head of the grid and the rate it was trained with."""

  learning_rate: float
  head: LinearHead


def train_grid(
  features: Float[np.ndarray, "N F"],
  labels: Float[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"],
  *,
  width: int,
  sets: Sequence[FeatureSet],
  settings: LinearSettings,
  exclusive: bool = False,
  seed: int = 0,
) -> list[GridHead]:
  """Trains all heads by SGD with momentum and a half cosine to 0.

  Heads start from 0: the loss is convex, so there is nothing to break.

  Args:
    features: class tokens of the last blocks, then the mean patch token; may
      be mapped from disk, rows are taken as they are needed.
    labels: 0 or 1.
    valid: labels that count.
    width: of a token.
    sets: what the heads see.
    settings: the rates and the optimizer.
    exclusive: the labels are classes.
    seed: of the order of the films.

  Returns:
    Heads by set, then by rate.
  """
  columns = tuple(s.columns(features.shape[1], width=width) for s in sets)
  rates, count = settings.learning_rates, labels.shape[1]
  heads = [
    (
      jnp.zeros((c.stop - c.start, len(rates) * count)),
      jnp.zeros(len(rates) * count),
    )
    for c in columns
  ]
  momenta = jax.tree.map(jnp.zeros_like, heads)
  run = functools.partial(
    _run_steps,
    columns=tuple((c.start, c.stop) for c in columns),
    rates=tuple(rates),
    momentum=settings.momentum,
    total=settings.steps,
    exclusive=exclusive,
  )
  for first, rows in _batches(len(features), settings, seed):
    batch = (
      features[rows.ravel()].reshape(*rows.shape, -1),
      labels[rows],
      valid[rows],
    )
    # Films are gathered while the device is busy, of one run at a time: calls
    # return at once, and films of every waiting call would be in memory.
    heads = jax.block_until_ready(heads)
    heads, momenta = run(heads, momenta, first, batch)
  return _unpack(heads, sets, rates=rates, count=count)


def _batches(
  films: int, settings: LinearSettings, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
  """Yields the first step of a run and its rows [steps, batch]."""
  for first in range(0, settings.steps, _STEPS_AT_ONCE):
    steps = min(_STEPS_AT_ONCE, settings.steps - first)
    places = first * settings.batch_size + np.arange(
      steps * settings.batch_size
    )
    epochs, position = np.divmod(places, films)
    orders = {
      epoch: np.random.default_rng([seed, epoch]).permutation(films)
      for epoch in np.unique(epochs)
    }
    rows = [orders[e][p] for e, p in zip(epochs, position, strict=True)]
    yield first, np.array(rows).reshape(steps, settings.batch_size)


@functools.partial(
  jax.jit,
  static_argnames=("columns", "rates", "momentum", "total", "exclusive"),
  donate_argnums=(0, 1),
)
def _run_steps(
  heads,
  momenta,
  first: int,
  batch: tuple[
    Float[Array, "S B F"], Float[Array, "S B C"], Bool[Array, "S B C"]
  ],
  *,
  columns: tuple[tuple[int, int], ...],
  rates: tuple[float, ...],
  momentum: float,
  total: int,
  exclusive: bool,
):
  """Moves all heads by as many steps as the batch holds."""
  count = batch[1].shape[-1]
  rate = jnp.repeat(jnp.asarray(rates), count)

  def loss(heads, x, y, known):
    # The films that count are the same for all heads, so one divisor serves.
    divisor = jnp.maximum((known.any(-1) if exclusive else known).sum(), 1)
    sums = 0.0
    for (kernel, bias), (start, stop) in zip(heads, columns, strict=True):
      logits = x[:, start:stop] @ kernel + bias
      logits = logits.reshape(len(x), len(rates), count)
      shape = logits.shape
      sums += label_loss(
        logits,
        jnp.broadcast_to(y[:, None], shape),
        jnp.broadcast_to(known[:, None], shape),
        exclusive=exclusive,
      ).sum()
    return sums / divisor

  def step(carry, inputs):
    heads, momenta, number = carry
    grads = jax.grad(loss)(heads, *inputs)
    momenta = jax.tree.map(lambda m, g: momentum * m + g, momenta, grads)
    now = rate * 0.5 * (1 + jnp.cos(jnp.pi * number / total))
    heads = jax.tree.map(lambda p, m: p - now * m, heads, momenta)
    return (heads, momenta, number + 1), None

  (heads, momenta, _), _ = jax.lax.scan(step, (heads, momenta, first), batch)
  return heads, momenta


def _unpack(heads, sets, *, rates, count) -> list[GridHead]:
  found = []
  for (kernel, bias), one_set in zip(heads, sets, strict=True):
    kernels = np.asarray(kernel).reshape(-1, len(rates), count)
    biases = np.asarray(bias).reshape(len(rates), count)
    found += [
      GridHead(rate, LinearHead(one_set, kernels[:, i], biases[i]))
      for i, rate in enumerate(rates)
    ]
  return found
