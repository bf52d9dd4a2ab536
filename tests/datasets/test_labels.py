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


@pytest.mark.parametrize(
  ("dataset", "expected"),
  [
    ("chexpert", [[1, 0, 1], [1, 1, 1], [0, None, 1], [1, 0, 1]]),
    ("mimic_cxr", [[1, 0, 0], [None, None, 1], [0, None, None], [1, 0, 0]]),
    (
      "brax",
      [[1, 0, None], [None, None, 1], [0, None, None], [1, 0, None]],
    ),
  ],
)
def test_the_reference_differs_by_dataset(dataset, expected):
  targets, counts = labels.label_targets(
    RAW, NAMES, policy="reference", dataset=dataset
  )
  np.testing.assert_array_equal(counts, np.array(expected) != None)  # noqa: E711
  wanted = [[value or 0 for value in row] for row in expected]
  np.testing.assert_array_equal(targets, wanted)


def test_uncertain_and_not_mentioned_are_set_apart():
  policy = labels.LabelPolicy(uncertain="negative", not_mentioned="mask")
  targets, counts = labels.label_targets(RAW, NAMES, policy=policy)
  np.testing.assert_array_equal(targets[1], [0, 0, 1])
  np.testing.assert_array_equal(counts[1], [False, True, True])
  with pytest.raises(ValueError, match="uncertain is 'yes', must be one of"):
    labels.LabelPolicy(uncertain="yes")


def test_each_labeller_has_its_own_healthy_films():
  names = ("No Finding", "Edema", "No Finding (NegBio)", "Edema (NegBio)")
  raw = np.array([[1, 1, 0, 1], [-2, 1, 1, 1]], np.int8)
  targets, _ = labels.label_targets(raw, names, policy="reference")
  np.testing.assert_array_equal(targets, [[1, 0, 0, 1], [1, 1, 1, 0]])


def test_cells_of_a_row_are_read_by_name():
  cells = {"Edema": "-1.0", "Mass": "", "Path": "x"}
  assert labels.parse_labels(
    cells, ("Mass", "Edema"), blank=labels.MISSING
  ) == (labels.MISSING, labels.UNCERTAIN)
  with pytest.raises(ValueError, match=r"'x' is not .* in column 'Path'"):
    labels.parse_labels(cells, ("Path",), blank=labels.MISSING)


def test_unknown_policy_is_refused():
  with pytest.raises(ValueError, match="default"):
    labels.label_targets(RAW, NAMES, policy="ones")
