"""Label codes and the policies that turn them into targets."""

import numpy as np
import pytest

from scan42_jax.datasets import labels

NAMES = ("No Finding", "Edema", "Support Devices")
RAW = np.array(
  [
    [1, -2, -1],  # Healthy, edema not mentioned, device uncertain.
    [-2, -1, 1],
    [0, -3, -2],
    [1, 1, -2],  # Healthy by label, although edema is positive.
  ],
  np.int8,
)


@pytest.mark.parametrize(
  ("text", "code"),
  [("1.0", 1), ("0", 0), ("-1.0", -1), (" ", labels.NOT_MENTIONED)],
)
def test_cells_are_read(text, code):
  assert labels.parse_label(text, blank=labels.NOT_MENTIONED) == code


@pytest.mark.parametrize("text", ["2", "yes", "nan", "0.5", "inf"])
def test_other_cells_are_refused(text):
  with pytest.raises(ValueError, match="not 1, 0, -1 or blank"):
    labels.parse_label(text, blank=labels.MISSING)


@pytest.mark.parametrize(
  ("policy", "expected"),
  [
    ("default", [[1, 0, 1], [0, 1, 1], [0, None, 0], [1, 1, 0]]),
    ("zeros", [[1, 0, 0], [0, 0, 1], [0, None, 0], [1, 1, 0]]),
    ("mask", [[1, 0, None], [0, None, 1], [0, None, 0], [1, 1, 0]]),
    ("reference", [[1, 0, 1], [1, 1, 1], [0, None, 1], [1, 0, 1]]),
  ],
)
def test_policies(policy, expected):
  targets, counts = labels.label_targets(RAW, NAMES, policy=policy)
  for row, column in np.ndindex(RAW.shape):
    value = expected[row][column]
    assert counts[row, column] == (value is not None)
    assert targets[row, column] == (value or 0)
  assert targets.dtype == np.float32


def test_reference_needs_no_column_of_healthy_films():
  targets, _ = labels.label_targets(
    np.array([[-2]], np.int8), ("Edema",), policy="reference"
  )
  assert targets.item() == 1


def test_unknown_policy_is_refused():
  with pytest.raises(ValueError, match="default"):
    labels.label_targets(RAW, NAMES, policy="ones")
