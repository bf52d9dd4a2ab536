"""Percentile bootstrap whose unit is the patient."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from scan42_jax.types import Float


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number with its 95 % interval.

  Attributes:
    value: on the whole test set.
    median: of the resamples; published tables print it.
    low: 2.5th percentile of the resamples.
    high: 97.5th percentile.
    undefined_draws: resamples that left it undefined; they are in no
      percentile.
  """

  value: float
  median: float = math.nan
  low: float = math.nan
  high: float = math.nan
  undefined_draws: int = 0

  def __str__(self) -> str:
    if math.isnan(self.value):
      return "undefined"
    if math.isnan(self.low):
      return f"{self.value:.3f}"
    return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def patient_bootstrap(
  statistic: Callable[[np.ndarray], Float[np.ndarray, "*M"]],
  patients: Sequence[str],
  *,
  draws: int = 500,
  seed: int = 0,
) -> Float[np.ndarray, "draws *M"]:
  """Evaluates a statistic on resampled patients.

  Two encoders are compared on the same resamples by returning both from one
  statistic.

  Args:
    statistic: gets row numbers, some of them repeated.
    patients: patient of each row; '' stands for one of its own.
    draws: resamples.
    seed: of the resamples.
  """
  names = [name or f"row {i}" for i, name in enumerate(patients)]
  _, patient = np.unique(names, return_inverse=True)
  number = int(patient.max()) + 1
  rng = np.random.default_rng(seed)
  samples = []
  for _ in range(draws):
    drawn = np.bincount(rng.integers(number, size=number), minlength=number)
    samples.append(statistic(np.repeat(np.arange(len(names)), drawn[patient])))
  return np.stack(samples)


def interval(
  samples: Float[np.ndarray, "draws *M"], *, level: float = 0.95
) -> tuple[Float[np.ndarray, "*M"], Float[np.ndarray, "*M"]]:
  """Lower and upper percentile of bootstrap samples; NaN draws are left out."""
  tail = (1 - level) / 2
  return tuple(np.nanquantile(samples, [tail, 1 - tail], axis=0))


def estimate(value: float, samples: Float[np.ndarray, "draws"]) -> Estimate:
  """Puts a value and its resamples together."""
  defined = samples[np.isfinite(samples)]
  if math.isnan(value) or not len(defined):
    return Estimate(float(value), undefined_draws=len(samples) - len(defined))
  low, high = interval(defined)
  return Estimate(
    value=float(value),
    median=float(np.median(defined)),
    low=float(low),
    high=float(high),
    undefined_draws=len(samples) - len(defined),
  )
