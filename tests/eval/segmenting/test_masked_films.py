"""Which films are learnt from, how masks become classes, order of batches."""

import itertools

import numpy as np
import pytest
import small_masks
from film_trees import prepare

from scan42_jax.data.images import encode_mask
from scan42_jax.eval.segmenting.mask_settings import MaskDataSettings
from scan42_jax.eval.segmenting.masked_films import (
  evaluation_batches,
  label_map,
  open_masked,
  training_batches,
)
from scan42_jax.weights.preprocessing import Preprocessing

HOW = Preprocessing(resize_px=32, squash=True)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return small_masks.prepare_tree(tmp_path_factory.mktemp("masks"))


@pytest.fixture(scope="module")
def splits(data_dir):
  return open_masked(MaskDataSettings(dataset="folder"), data_dir)


def test_films_without_a_mask_are_left_out_and_counted(data_dir, splits):
  assert [len(films) for films in splits] == [13, 8, 8]
  assert [films.left_out for films in splits] == [3, 0, 0]
  lungs = open_masked(
    MaskDataSettings("folder", ("left_lung", "right_lung")), data_dir
  )
  assert lungs.train.left_out == 0
  assert splits.train.num_patients == 7 and lungs.train.num_patients == 8


def test_masks_become_classes_at_their_own_size(splits):
  for film in (splits.test[i] for i in range(len(splits.test))):
    assert film.labels.shape == film.pixels.shape
    levels = [film.pixels[film.labels == c].mean() for c in range(4)]
    # Background, left lung, right lung, heart, as they were drawn.
    np.testing.assert_allclose(levels, [30, 110, 170, 235], atol=8)


def test_the_later_mask_counts_where_two_overlap():
  left, heart = np.zeros((2, 4, 6), bool)
  left[:, 2:] = True
  heart[1:3, 1:4] = True
  masks = {"left_lung": encode_mask(left), "heart": encode_mask(heart)}
  expected = np.where(heart, 2, np.where(left, 1, 0))
  found = label_map(masks, (4, 6), where="film x")
  np.testing.assert_array_equal(found, expected)
  # A film that was shrunk in preparation still fits.
  assert label_map(masks, (2, 3), where="film x").shape == (4, 6)


@pytest.mark.parametrize("film", [(4, 8), (8, 6), (40, 40)])
def test_a_mask_of_another_shape_names_film_mask_and_sizes(film):
  masks = {"heart": encode_mask(np.ones((4, 6), bool))}
  with pytest.raises(ValueError, match=r"film x.*mask heart has 4 x 6 px"):
    label_map(masks, film, where="film x")


def test_masks_of_one_film_that_differ_in_size():
  masks = {
    "left_lung": encode_mask(np.ones((40, 60), bool)),
    "heart": encode_mask(np.ones((20, 30), bool)),
  }
  with pytest.raises(ValueError, match="mask heart has 20 x 30 px"):
    label_map(masks, (40, 60), where="film x")


def test_a_dataset_without_masks_is_named_with_what_it_has(tmp_path):
  table = small_masks.write_tree(tmp_path, count=16, without_heart=16)
  prepare(tmp_path / "source", tmp_path / "data", labels_csv=table)
  with pytest.raises(ValueError, match="heart on 0 of 8 films") as error:
    open_masked(MaskDataSettings(dataset="folder"), tmp_path / "data")
  assert "\n" not in str(error.value)


def test_an_empty_split_and_an_absent_dataset(data_dir):
  with pytest.raises(ValueError, match="no split 'holdout'"):
    open_masked(
      MaskDataSettings(dataset="folder", test_split="holdout"), data_dir
    )
  with pytest.raises(FileNotFoundError, match="no dataset 'chexmask'"):
    open_masked(MaskDataSettings(), data_dir)


def _stream(films, start, *, count=4, threads=2):
  batches = training_batches(
    films,
    HOW,
    batch_size=5,
    seed=3,
    start_step=start,
    num_threads=threads,
  )
  found = list(itertools.islice(batches, count))
  batches.close()
  return found


def test_the_order_depends_on_the_step_alone(splits):
  whole = _stream(splits.train, 0)
  for step, batch in enumerate(_stream(splits.train, 2, count=2, threads=1)):
    expected = whole[2 + step]
    np.testing.assert_array_equal(batch.index, 5 * (2 + step) + np.arange(5))
    for name in ("pixels", "labels", "index"):
      np.testing.assert_array_equal(
        getattr(batch, name), getattr(expected, name)
      )
  # An epoch shows every film once: 13 films in the first 13 places.
  shown = np.concatenate([batch.pixels for batch in whole])[:13]
  assert len({film.tobytes() for film in shown}) == 13


def test_every_film_is_evaluated_once_and_the_last_batch_filled(splits):
  found = list(
    evaluation_batches(splits.test, HOW, batch_size=3, num_threads=2)
  )
  assert [len(films) for _, films in found] == [3, 3, 2]
  index = np.concatenate([batch.index for batch, _ in found])
  np.testing.assert_array_equal(index, [*range(8), -1])
  films = [film.image_id for _, some in found for film in some]
  assert films == list(splits.test.image_ids)
