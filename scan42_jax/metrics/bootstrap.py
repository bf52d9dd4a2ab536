"""Percentile bootstrap whose unit is the patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from scan42_jax.types import Float


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
  rows = [np.flatnonzero(patient == p) for p in range(patient.max() + 1)]
  rng = np.random.default_rng(seed)
  return np.stack(
    [
      statistic(
        np.concatenate(
          [rows[p] for p in rng.integers(len(rows), size=len(rows))]
        )
      )
      for _ in range(draws)
    ]
  )


def interval(
  samples: Float[np.ndarray, "draws *M"], *, level: float = 0.95
) -> tuple[Float[np.ndarray, "*M"], Float[np.ndarray, "*M"]]:
  """Lower and upper percentile of bootstrap samples; NaN draws are left out."""
  tail = (1 - level) / 2
  return tuple(np.nanquantile(samples, [tail, 1 - tail], axis=0))
