"""What a label value means, and the policies that turn it into a target.

Shards keep the raw values below. A policy is applied on reading, so the same
shards serve every policy.
"""

import numpy as np

from scan42_jax.types import Bool, Float, Int

POSITIVE = 1
NEGATIVE = 0
UNCERTAIN = -1
NOT_MENTIONED = -2
"""Blank in a table made from reports: the report does not speak of it."""
MISSING = -3
"""Nobody looked for this finding in this film: never a target."""

POLICIES = ("default", "zeros", "mask", "reference")

_TARGETS = {  # policy: target of UNCERTAIN and of NOT_MENTIONED; NaN is masked
  "default": (1.0, 0.0),
  "zeros": (0.0, 0.0),
  "mask": (np.nan, 0.0),
  "reference": (1.0, 1.0),
}


def parse_label(text: str, *, blank: int) -> int:
  """Reads one cell of a label table.

  Args:
    text: '1', '0', '-1', also with '.0', or blank.
    blank: code that a blank cell stands for, NOT_MENTIONED or MISSING.

  Raises:
    ValueError: the cell holds anything else.
  """
  text = text.strip()
  if not text:
    return blank
  try:
    value = float(text)
  except ValueError:
    value = np.nan
  if value not in (POSITIVE, NEGATIVE, UNCERTAIN):
    raise ValueError(f"label {text!r} is not 1, 0, -1 or blank")
  return int(value)


def label_targets(
  raw: Int[np.ndarray, "N K"],
  label_names: tuple[str, ...],
  *,
  policy: str = "default",
) -> tuple[Float[np.ndarray, "N K"], Bool[np.ndarray, "N K"]]:
  """Turns raw label values into targets for loss and metrics.

  | policy      | uncertain | not mentioned |
  |-------------|-----------|---------------|
  | `default`   | 1         | 0             |
  | `zeros`     | 0         | 0             |
  | `mask`      | masked    | 0             |
  | `reference` | 1         | 1             |

  `reference` is the published run, which took blank for uncertain. It first
  sets the other labels of a film with No Finding = 1 to 0, all but Support
  Devices. Missing values are masked by every policy.

  Args:
    raw: values of this module's codes.
    label_names: name of each column.
    policy: one of POLICIES.

  Returns:
    Targets 0 or 1 in float32 (0 where masked), and whether each one counts.

  Raises:
    ValueError: no such policy.
  """
  if policy not in POLICIES:
    raise ValueError(f"label policy {policy!r} is not one of {POLICIES}")
  uncertain, not_mentioned = _TARGETS[policy]
  values = raw.astype(np.float32)
  values[raw == UNCERTAIN] = uncertain
  values[raw == NOT_MENTIONED] = not_mentioned
  if policy == "reference":
    values = _clear_healthy(values, raw, label_names)
  values[raw == MISSING] = np.nan
  counts = ~np.isnan(values)
  return np.where(counts, values, 0).astype(np.float32), counts


def _clear_healthy(values, raw, label_names):
  """Sets the findings of films with No Finding = 1 to 0."""
  if "No Finding" not in label_names:
    return values
  healthy = raw[:, label_names.index("No Finding")] == POSITIVE
  finding = np.array(
    [name not in ("No Finding", "Support Devices") for name in label_names]
  )
  return np.where(healthy[:, None] & finding[None, :], 0, values)
