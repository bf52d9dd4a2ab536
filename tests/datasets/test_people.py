"""Sex and age as tables spell them."""

import math

import pytest

from scan42_jax.datasets import people


@pytest.mark.parametrize(
  ("text", "code"),
  [("Male", "M"), ("F", "F"), (" female ", "F"), ("Unknown", ""), ("O", "")],
)
def test_sexes(text, code):
  assert people.sex_code(text) == code


@pytest.mark.parametrize(
  ("text", "years"),
  [
    ("58", 58),
    ("58.0", 58),
    ("058Y", 58),
    ("011M", 11 / 12),
    ("003W", 21 / 365.25),
    ("89+", 89),
    ("85 or more", 85),
    ("90 and above", 90),
    ("50-54", 50),
    ("0", 0),
  ],
)
def test_ages(text, years):
  assert people.age_years(text) == pytest.approx(years)


@pytest.mark.parametrize("text", ["", "414", "old", "-1", "3 months", "nan"])
def test_unknown_ages(text):
  assert math.isnan(people.age_years(text))
