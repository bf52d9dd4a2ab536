"""Films of nobody, for tests that need no pictures."""

import numpy as np

from scan42_jax.eval.splits import KnownFilms


def known_films(labels, *, valid=None, patients=None, first=0) -> KnownFilms:
  """Returns films with the given labels; two of each patient by default."""
  labels = np.asarray(labels, np.float32)
  number = len(labels)
  if valid is None:
    valid = np.ones(labels.shape, bool)
  if patients is None:
    patients = [f"p{(first + i) // 2}" for i in range(number)]
  return KnownFilms(
    image_ids=[f"film{first + i}" for i in range(number)],
    patients=patients,
    views=[("PA", "AP", "")[i % 3] for i in range(number)],
    sexes=["FM"[i % 2] for i in range(number)],
    ages=np.where(np.arange(number) % 4 == 3, np.nan, 20.0 + np.arange(number)),
    labels=labels * valid,
    valid=np.asarray(valid, bool),
    label_names=[f"finding {c}" for c in range(labels.shape[1])],
  )
