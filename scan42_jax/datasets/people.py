"""Reads what tables say of a patient: sex and age, in their many spellings."""

import math
import re

from scan42_jax.data import film

_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}
_AGE = re.compile(
  r"(\d{1,3})(?:\.\d*)? ?([ymwd]?)(?:\+| ?- ?\d+| (?:or|and) \w+)?",
  re.IGNORECASE,
)

MAX_AGE_YEARS = 120.0
"""More is a slip of the pen: the first table of NIH ChestX-ray14 has 414."""


def sex_code(text: str) -> str:
  """Returns 'M' or 'F'; '' for what is unknown or other."""
  return _SEXES.get(text.strip().lower(), "")


def age_years(text: str) -> float:
  """Reads an age.

  Args:
    text: '58', '58.0', '058Y', '011M', '89+', '85 or more', or a bin such as
      '50-54', which gives its lower end.

  Returns:
    Years; NaN for what is unknown or cannot be an age.
  """
  match = _AGE.fullmatch(text.strip())
  years = film.age_years(match[1] + match[2]) if match else math.nan
  return years if years <= MAX_AGE_YEARS else math.nan
