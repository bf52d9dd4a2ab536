"""The training stream: shares, epochs and order, exactly."""

import collections

import pytest

from scan42_jax.data.mixture import Mixture

SIZES = (7, 4, 13)
WEIGHTS = (2, 4, 6)  # One, two, three in a block of six.


def _stream(count, **settings):
  mixture = Mixture(SIZES, **{"seed": 3, **settings})
  return [mixture.place(index) for index in range(count)]


def test_without_weights_each_epoch_has_each_film_once_in_a_new_order():
  stream = _stream(4 * 24)
  epochs = [stream[start : start + 24] for start in range(0, 96, 24)]
  everything = sorted(
    (dataset, film) for dataset, n in enumerate(SIZES) for film in range(n)
  )
  assert all(sorted(epoch) == everything for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) == 4
  assert _stream(24, seed=4) != epochs[0]


def test_every_block_has_exactly_the_weights():
  stream = _stream(6 * 50, weights=WEIGHTS)
  orders = set()
  for start in range(0, len(stream), 6):
    datasets = [dataset for dataset, _ in stream[start : start + 6]]
    assert collections.Counter(datasets) == {0: 1, 1: 2, 2: 3}
    orders.add(tuple(datasets))
  assert len(orders) > 20  # Of 60 that there are.


def test_with_weights_each_dataset_has_epochs_of_its_own():
  stream = _stream(6 * 4 * 7 * 13, weights=WEIGHTS)
  for dataset, size in enumerate(SIZES):
    films = [film for which, film in stream if which == dataset]
    epochs = [
      tuple(films[start : start + size])
      for start in range(0, len(films) - size + 1, size)
    ]
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert len(set(epochs)) > 20


@pytest.mark.parametrize("weights", [(), WEIGHTS])
def test_epochs_count_what_the_stream_has_shown(weights):
  stream = _stream(200, weights=weights)
  mixture = Mixture(SIZES, seed=3, weights=weights)
  for count in (0, 1, 5, 24, 59, 60, 199) if weights else (0, 24, 48, 192):
    seen = collections.Counter(dataset for dataset, _ in stream[:count])
    assert mixture.epochs(count) == tuple(
      seen[dataset] / size for dataset, size in enumerate(SIZES)
    )


@pytest.mark.parametrize("weights", [(), WEIGHTS])
def test_a_place_depends_on_nothing_before_it(weights):
  stream = _stream(120, weights=weights)
  for index in (117, 3, 64):
    assert Mixture(SIZES, seed=3, weights=weights).place(index) == stream[index]
  others = _stream(120, weights=weights, seed=5)
  assert others != stream


def test_weights_have_to_fit():
  with pytest.raises(ValueError, match="2 weights for 3 datasets"):
    Mixture(SIZES, seed=0, weights=(1, 2))
  with pytest.raises(ValueError, match="not whole numbers above 0"):
    Mixture(SIZES, seed=0, weights=(1, 0, 2))
  with pytest.raises(ValueError, match="one without films"):
    Mixture((3, 0), seed=0)
