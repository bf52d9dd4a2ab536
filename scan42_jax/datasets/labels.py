"""What a label value means, and the policies that turn it into a target.

Shards keep the raw values below. A policy is applied on reading, so the same
shards serve every policy.
"""

import dataclasses
import re

import numpy as np

from scan42_jax.types import Bool, Float, Int

POSITIVE = 1
NEGATIVE = 0
UNCERTAIN = -1
NOT_MENTIONED = -2
"""Blank in a table made from reports: the report does not speak of it."""
MISSING = -3
"""Nobody looked for this finding in this film: never a target."""

HEALTHY = "No Finding"
"""Label of the CheXpert labeller for films on which it found nothing."""

_TARGETS = {"positive": 1.0, "negative": 0.0, "mask": np.nan}
_PARTS = re.compile(r"(.+?)( \(\w+\))?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelPolicy:
  """What becomes of label values that are neither positive nor negative.

  Attributes:
    uncertain: 'positive', 'negative' or 'mask'.
    not_mentioned: likewise, for blank cells of tables made from reports.
    clear_healthy: a film with No Finding = 1 has all other findings negative,
      whatever their cells say.
    spared: labels that `clear_healthy` leaves as they are.
  """

  uncertain: str = "positive"
  not_mentioned: str = "negative"
  clear_healthy: bool = False
  spared: tuple[str, ...] = ("Support Devices",)

  def __post_init__(self):
    for name in ("uncertain", "not_mentioned"):
      if getattr(self, name) not in _TARGETS:
        raise ValueError(
          f"label policy: {name} is {getattr(self, name)!r}, must be one of "
          f"{', '.join(_TARGETS)}"
        )


_PRESETS = {
  "default": LabelPolicy(),
  "zeros": LabelPolicy(uncertain="negative"),
  "mask": LabelPolicy(uncertain="mask"),
}

_REFERENCE = {
  "chexpert": LabelPolicy(not_mentioned="positive", clear_healthy=True),
  "mimic_cxr": LabelPolicy(
    uncertain="mask", not_mentioned="mask", clear_healthy=True, spared=()
  ),
  "brax": LabelPolicy(
    uncertain="mask", not_mentioned="mask", clear_healthy=True
  ),
}

POLICIES = (*_PRESETS, "reference")


def label_policy(name: str, dataset: str = "") -> LabelPolicy:
  """Returns a policy by name.

  | policy      | dataset     | uncertain | not mentioned | No Finding = 1    |
  |-------------|-------------|-----------|---------------|-------------------|
  | `default`   | any         | 1         | 0             | no effect         |
  | `zeros`     | any         | 0         | 0             | no effect         |
  | `mask`      | any         | masked    | 0             | no effect         |
  | `reference` | `mimic_cxr` | masked    | masked        | all others 0      |
  | `reference` | `brax`      | masked    | masked        | 0 but for devices |
  | `reference` | others      | 1         | 1             | 0 but for devices |

  `reference` is the published run. It took blank for uncertain, which it then
  set to 1 for CheXpert alone; for MIMIC-CXR and BRAX it left undefined targets
  in the loss, which here are masked.

  Args:
    name: one of POLICIES.
    dataset: name of the dataset, which `reference` depends on.

  Raises:
    ValueError: no such policy.
  """
  if name not in POLICIES:
    raise ValueError(f"label policy {name!r} is not one of {POLICIES}")
  if name == "reference":
    return _REFERENCE.get(dataset, _REFERENCE["chexpert"])
  return _PRESETS[name]


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


def parse_labels(
  cells: dict[str, str], names: tuple[str, ...], *, blank: int
) -> tuple[int, ...]:
  """Reads the label cells of a row, in the order of `names`.

  Raises:
    ValueError: a cell holds no label; names its column.
  """
  values = []
  for name in names:
    try:
      values.append(parse_label(cells[name], blank=blank))
    except ValueError as error:
      raise ValueError(f"{error} in column {name!r}") from None
  return tuple(values)


def label_targets(
  raw: Int[np.ndarray, "N K"],
  label_names: tuple[str, ...],
  *,
  policy: str | LabelPolicy = "default",
  dataset: str = "",
) -> tuple[Float[np.ndarray, "N K"], Bool[np.ndarray, "N K"]]:
  """Turns raw label values into targets for loss and metrics.

  Missing values are masked by every policy.

  Args:
    raw: values of this module's codes.
    label_names: name of each column.
    policy: a policy, or the name of one, see `label_policy`.
    dataset: name of the dataset, for the policy `reference`.

  Returns:
    Targets 0 or 1 in float32 (0 where masked), and whether each one counts.

  Raises:
    ValueError: no such policy.
  """
  if isinstance(policy, str):
    policy = label_policy(policy, dataset)
  values = raw.astype(np.float32)
  values[raw == UNCERTAIN] = _TARGETS[policy.uncertain]
  values[raw == NOT_MENTIONED] = _TARGETS[policy.not_mentioned]
  if policy.clear_healthy:
    _clear_healthy(values, raw, label_names, spared=policy.spared)
  values[raw == MISSING] = np.nan
  counts = ~np.isnan(values)
  return np.where(counts, values, 0).astype(np.float32), counts


def _clear_healthy(values, raw, label_names, *, spared) -> None:
  """Sets the findings of films with No Finding = 1 to 0, in place.

  'Edema (NegBio)' answers to 'No Finding (NegBio)', not to 'No Finding'.
  """
  parts = [_PARTS.fullmatch(name).groups() for name in label_names]
  for column, (name, labeller) in enumerate(parts):
    if name != HEALTHY:
      continue
    findings = [
      other == labeller and finding not in (HEALTHY, *spared)
      for finding, other in parts
    ]
    values[np.ix_(raw[:, column] == POSITIVE, findings)] = 0
