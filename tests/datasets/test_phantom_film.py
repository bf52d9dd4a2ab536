"""Phantom films: the same every time, varied, and of no use to shortcuts."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scan42_jax.datasets.phantom_film import LABELS, describe, render

SIZE_PX = 128
FILMS = 2400


@pytest.fixture(scope="module")
def films():
  return [render(0, number, size_px=SIZE_PX) for number in range(FILMS)]


@pytest.fixture(scope="module")
def frontal(films):
  """Training films and test films, laterals dropped."""
  films = [film for film in films if film.view != "LATERAL"]
  train = [film for film in films if film.split == "train"]
  return train, [film for film in films if film.split == "test"]


def test_same_numbers_give_the_same_film():
  first, again = (render(3, 17, size_px=96) for _ in range(2))
  for field in dataclasses.fields(first):
    np.testing.assert_array_equal(
      getattr(first, field.name), getattr(again, field.name)
    )


def test_other_seed_and_other_number_give_other_films():
  films = [render(*key, size_px=64) for key in ((0, 1), (1, 1), (0, 2))]
  thumbnails = [_thumbnail(film.pixels) for film in films]
  for first, second in ((0, 1), (0, 2), (1, 2)):
    assert np.abs(thumbnails[first] - thumbnails[second]).mean() > 0.02


def test_size_scales_the_same_film():
  small, large = (render(0, 5, size_px=size) for size in (128, 512))
  assert small.labels == large.labels
  assert small.impression == large.impression
  pair = [_thumbnail(film.pixels).ravel() for film in (small, large)]
  assert np.corrcoef(pair)[0, 1] > 0.98


@pytest.mark.parametrize(
  ("key", "message"),
  [
    ((-1, 0, 64), "0 or more"),
    ((0, -1, 64), "0 or more"),
    ((0, 0, 16), "size_px=16 is too small"),
  ],
)
def test_refuses_impossible_films(key, message):
  with pytest.raises(ValueError, match=message):
    render(key[0], key[1], size_px=key[2])


def test_description_is_that_of_the_film():
  case, film = describe(2, 8), render(2, 8, size_px=64)
  for field in dataclasses.fields(case):
    assert getattr(case, field.name) == getattr(film, field.name)


def test_patients_have_one_to_three_films_and_one_split(films):
  patients = {}
  for film in films:
    patients.setdefault(film.patient_id, []).append(film)
  assert {len(group) for group in patients.values()} == {1, 2, 3}
  for group in patients.values():
    assert len({(film.split, film.sex, film.age) for film in group}) == 1
  shares = np.array(
    [
      sum(group[0].split == split for group in patients.values())
      for split in ("train", "validation", "test")
    ]
  ) / len(patients)
  np.testing.assert_allclose(shares, [0.6, 0.1, 0.3], atol=0.05)


def test_prevalence_and_independence_of_findings(films):
  labels = np.array([film.labels for film in films], float)
  assert labels.shape[1] == len(LABELS)
  prevalence = labels.mean(axis=0)
  assert prevalence.min() > 0.13 and prevalence.max() < 0.42
  assert (labels.sum(axis=1) >= 2).mean() > 0.3
  others = np.array(
    [
      [film.view == "PA", film.sex == "F", film.age, film.pixels.shape[0]]
      for film in films
    ],
    float,
  )
  table = np.corrcoef(np.hstack([labels, others]).T)
  count = len(LABELS)
  table[count:, count:] = 0  # Height and age may go with each other.
  np.fill_diagonal(table, 0)
  # Six standard errors of a correlation of independent columns.
  assert np.abs(table).max() < 6 / np.sqrt(len(films))


def test_size_exposure_contrast_and_view_vary(films):
  assert len({film.pixels.shape for film in films}) > 300
  assert max(max(film.pixels.shape) for film in films) <= SIZE_PX
  assert {film.view for film in films} == {"PA", "AP", "LATERAL"}
  levels = np.array([film.pixels.mean() for film in films]) / 65535
  spreads = np.array([film.pixels.std() for film in films]) / 65535
  assert levels.std() > 0.05 and spreads.std() > 0.02


def test_masks_lie_where_the_organs_are(frontal):
  for film in frontal[0][:100]:
    right, left = _middle(film.right_lung), _middle(film.left_lung)
    turned_right, turned_left = right[1], left[1]
    assert turned_right < turned_left, "the left lung is on the picture's right"
    assert not (film.right_lung & film.left_lung).any()
    lungs = film.right_lung | film.left_lung
    assert 0.05 < lungs.mean() < 0.6
    assert (film.heart & lungs).sum() < 0.15 * film.heart.sum()


def test_lateral_films_have_no_masks(films):
  lateral = [film for film in films if film.view == "LATERAL"]
  assert len(lateral) > 20
  for film in lateral:
    assert not (film.right_lung | film.left_lung | film.heart).any()


def test_thumbnails_do_not_give_the_findings_away(frontal):
  train, test = frontal
  assert len({film.patient_id for film in test}) >= 300
  features = [
    np.array([_thumbnail(film.pixels).ravel() for film in part])
    for part in (train, test)
  ]
  truth = [np.array([film.labels for film in part]) for part in (train, test)]
  scores = []
  for label in range(len(LABELS)):
    probe = make_pipeline(
      StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)
    )
    probe.fit(features[0], truth[0][:, label])
    scores.append(
      roc_auc_score(truth[1][:, label], probe.decision_function(features[1]))
    )
  assert np.mean(scores) <= 0.65, dict(zip(LABELS, scores, strict=True))


def test_mean_mask_does_not_segment(frontal):
  train, test = frontal
  for organ in (
    lambda film: film.right_lung | film.left_lung,
    lambda film: film.right_lung,
    lambda film: film.left_lung,
    lambda film: film.heart,
  ):
    mean = np.mean([_small(organ(film)) for film in train], axis=0)
    truth = np.array([_small(organ(film)) for film in test])
    scores = [
      2
      * (truth & (mean > level)).sum()
      / (truth.sum() + (mean > level).sum() * len(truth))
      for level in (0.2, 0.3, 0.4, 0.5)
    ]
    assert max(scores) <= 0.75


def _middle(mask):
  return [axis.mean() for axis in np.nonzero(mask)]


def _small(mask):
  return np.asarray(Image.fromarray(mask).resize((64, 64), Image.NEAREST))


def _thumbnail(pixels):
  grey = Image.fromarray((pixels >> 8).astype(np.uint8))
  return np.asarray(grey.resize((16, 16), Image.BOX), np.float32) / 255
