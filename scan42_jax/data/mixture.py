"""Which film stands at which place of the endless training stream.

Pure arithmetic of sizes, weights and a seed: no process, thread or earlier call
takes part, so every host and every resumed run sees one and the same stream.
"""

import functools
import math
from collections.abc import Sequence

import grain
import numpy as np


class Mixture:
  """Films of several datasets in one stream.

  Without weights all films are shuffled together, anew in each epoch, so a
  dataset has the share of its size. With weights the stream is made of blocks
  in which each dataset has exactly its weight of places, in random order, and
  each dataset is shuffled by itself, anew in each epoch of its own.

  Args:
    sizes: number of films of each dataset.
    seed: seed of the order.
    weights: places of each dataset in a block, divided by their greatest
      common divisor; empty for none.

  Raises:
    ValueError: there is no film, or the weights do not fit the sizes.
  """

  def __init__(
    self, sizes: Sequence[int], *, seed: int, weights: Sequence[int] = ()
  ):
    if not sizes or min(sizes) < 1:
      raise ValueError("no dataset to train on, or one without films")
    self._sizes, self._seed = tuple(sizes), seed
    self._ends = np.cumsum(sizes)
    if weights:
      _check_weights(weights, sizes)
      divisor = math.gcd(*weights)
      self._weights = tuple(weight // divisor for weight in weights)
      seeds = np.random.SeedSequence(seed).generate_state(len(sizes))
      self._orders = [
        _shuffled(size, int(one))
        for size, one in zip(sizes, seeds, strict=True)
      ]
    else:
      self._weights = ()
      self._orders = [_shuffled(int(self._ends[-1]), seed)]

  def place(self, index: int) -> tuple[int, int]:
    """Returns (dataset, position in it) of a place in the stream."""
    if not self._weights:
      film = self._orders[0][index]
      dataset = int(np.searchsorted(self._ends, film, side="right"))
      return dataset, int(film - (self._ends[dataset - 1] if dataset else 0))
    block, slot = divmod(index, sum(self._weights))
    datasets, ranks = _block(self._weights, self._seed, block)
    dataset = int(datasets[slot])
    draw = block * self._weights[dataset] + int(ranks[slot])
    return dataset, int(self._orders[dataset][draw])

  def epochs(self, num_films: int) -> tuple[float, ...]:
    """Says how often each dataset has been gone through.

    Args:
      num_films: films of the stream that have been used, from its start.

    Returns:
      Films drawn from each dataset over its size. Without weights that is the
      share of the common epoch, exact wherever an epoch ends.
    """
    if not self._weights:
      return (num_films / int(self._ends[-1]),) * len(self._sizes)
    block, rest = divmod(num_films, sum(self._weights))
    datasets, _ = _block(self._weights, self._seed, block)
    begun = np.bincount(datasets[:rest], minlength=len(self._sizes))
    return tuple(
      (block * weight + int(more)) / size
      for weight, more, size in zip(
        self._weights, begun, self._sizes, strict=True
      )
    )


def _check_weights(weights, sizes):
  if len(weights) != len(sizes):
    raise ValueError(f"{len(weights)} weights for {len(sizes)} datasets")
  if not all(isinstance(weight, int) and weight > 0 for weight in weights):
    raise ValueError(f"weights {tuple(weights)} are not whole numbers above 0")


def _shuffled(size: int, seed: int) -> grain.MapDataset:
  """The endless stream of positions, reshuffled each epoch."""
  return grain.MapDataset.range(size).seed(seed).shuffle().repeat(None)


@functools.lru_cache(maxsize=8)
def _block(
  weights: tuple[int, ...], seed: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
  """Draws a block: for each slot its dataset, and how many came before it.

  The second counts earlier slots of the same dataset within the block.
  """
  rng = np.random.default_rng([seed, block])
  datasets = rng.permutation(np.repeat(np.arange(len(weights)), weights))
  ranks = np.empty(len(datasets), np.int64)
  for dataset, weight in enumerate(weights):
    ranks[datasets == dataset] = np.arange(weight)
  return datasets, ranks
