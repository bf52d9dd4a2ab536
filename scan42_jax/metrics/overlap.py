"""Dice and intersection over union, from counts of pixels.

Counts of a film are small, whatever its size, so a test set of any length fits
in memory and is resampled without its masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scan42_jax.types import Float, Int

Region = Sequence[int]
"""Classes of a label map that count as one structure."""


def count_overlap(
  prediction: Int[np.ndarray, "H W"],
  truth: Int[np.ndarray, "H W"],
  regions: Sequence[Region],
) -> Int[np.ndarray, "Q 3"]:
  """Counts pixels of one film: in both, in the prediction, in the truth.

  Args:
    prediction: class of each pixel.
    truth: likewise.
    regions: Q structures.
  """
  classes = 1 + max(max(region) for region in regions)
  # One pass over the pixels, however many regions there are.
  pairs = np.minimum(truth, classes).astype(np.int64) * (classes + 1)
  pairs += np.minimum(prediction, classes)
  size = (classes + 1) ** 2
  table = np.bincount(pairs.ravel(), minlength=size)
  table = table.reshape(classes + 1, classes + 1)
  return np.array(
    [
      (
        table[np.ix_(region, region)].sum(),
        table[:, list(region)].sum(),
        table[list(region)].sum(),
      )
      for region in regions
    ]
  )


def dice(counts: Int[np.ndarray, "*N Q 3"]) -> Float[np.ndarray, "*N Q"]:
  """2 |P and T| / (|P| + |T|); 1 where prediction and truth are both empty.

  Summed counts give the Dice that is pooled over films, in which large films
  and large structures weigh more; the counts of films give one for each.
  """
  both, predicted, true = np.moveaxis(np.asarray(counts, float), -1, 0)
  total = predicted + true
  return np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)


def iou(counts: Int[np.ndarray, "*N Q 3"]) -> Float[np.ndarray, "*N Q"]:
  """|P and T| / |P or T|; 0 where both are empty, as the reference has it."""
  both, predicted, true = np.moveaxis(np.asarray(counts, float), -1, 0)
  return both / np.maximum(predicted + true - both, 1)
