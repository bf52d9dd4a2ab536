"""What is shared by the readers: header texts and 8-bit conversion."""

import numpy as np
import pytest

from scan42_jax.data import film


@pytest.mark.parametrize(
  ("text", "view"),
  [
    (" ll ", "LATERAL"),
    ("RL", "LATERAL"),
    ("Lat", "LATERAL"),
    ("pa", "PA"),
    ("LLO", "LLO"),
    ("", ""),
    ("see note: Mr. Doe", ""),
    ("JOHN DOE", ""),
    ("AP 19550123", ""),
    ("ap supine", "AP SUPINE"),
  ],
)
def test_view_position(text, view):
  assert film.view_position(text) == view


@pytest.mark.parametrize(
  ("text", "view"),
  [
    ("portable ap chest", "AP"),
    ("postero-anterior", "PA"),
    ("LATERAL", "LATERAL"),
    ("Chest PA and LAT", ""),
    ("PAIN", ""),
  ],
)
def test_view_in_text(text, view):
  assert film.view_in_text(text) == view


@pytest.mark.parametrize(
  ("text", "years"),
  [
    ("045Y", 45),
    ("006M", 0.5),
    ("052W", 364 / 365.25),
    ("10d", 10 / 365.25),
    ("52", 52),
    ("", np.nan),
    ("old", np.nan),
    ("0045Y", np.nan),
  ],
)
def test_age_years(text, years):
  np.testing.assert_allclose(film.age_years(text), years)


def test_to_uint8_rounds_and_clips():
  values = np.array([-3, 0, 1, 2, 254.5, 300], np.float64)
  assert film.to_uint8(values, low=0, high=510).tolist() == [
    0, 0, 0, 1, 127, 150
  ]  # fmt: skip
  assert film.to_uint8(values, low=5, high=5).tolist() == [0] * 6


def test_stretch_truncated_does_not_round():
  values = np.array([10, 11, 13], np.int16)
  assert film.stretch_truncated(values).tolist() == [0, 85, 255]
  assert film.stretch_truncated(values + 5).tolist() == [0, 85, 255]
  assert film.stretch_truncated(np.array([1, 1])).tolist() == [0, 0]


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (2**14, 2**13)])
def test_impossible_sizes_are_refused(size):
  with pytest.raises(film.RejectedFilm, match="pixels") as refusal:
    film.check_size(*size)
  assert refusal.value.kind == "unreadable"
  film.check_size(2**13, 2**13)
