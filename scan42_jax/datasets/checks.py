"""Stops on what no dataset may hold: contradictions, and too much damage."""

from collections.abc import Iterable, Sequence

from scan42_jax.datasets.base import SPLITS
from scan42_jax.datasets.reading import Row

_DEFAULT_PERCENT = 10.0
_FEWEST_JUDGED = 100  # Of fewer, one broken file says nothing about the rest.


def check_broken(
  reasons: Sequence[str], num_rows: int, *, max_percent: float | None
) -> None:
  """Stops when too much of a release is broken to be an accident.

  Args:
    reasons: why each broken row or file cannot be used.
    num_rows: rows and files in all.
    max_percent: share that is allowed; None allows 10 % of 100 rows or more,
      and does not judge fewer.

  Raises:
    ValueError: more is broken; one line with the share and the first reason.
  """
  if max_percent is None:
    max_percent = _DEFAULT_PERCENT if num_rows >= _FEWEST_JUDGED else 100.0
  share = 100 * len(reasons) / max(num_rows, 1)
  if share > max_percent:
    raise ValueError(
      f"{len(reasons)} of {num_rows} rows and files are broken ({share:.1f} %, "
      f"allowed are {max_percent:g} %: --max_broken_percent); the first: "
      f"{reasons[0]}"
    )


def check_rows(rows: Iterable[Row], num_labels: int) -> None:
  """Stops on rows that contradict each other, before any file is opened.

  Rows with a fault are passed over.

  Raises:
    ValueError: a row has another number of labels, a split is unknown, or a
      patient is in two splits.
  """
  patients: dict[str, tuple[str, str]] = {}
  for row in rows:
    if row.fault:
      continue
    if row.split and row.split not in SPLITS:
      raise ValueError(f"{row.where}: split {row.split!r} is not in {SPLITS}")
    if len(row.labels) not in (0, num_labels):
      raise ValueError(
        f"{row.where}: {len(row.labels)} labels instead of {num_labels}"
      )
    if row.split and row.patient_id:
      _check_patient(patients, row.patient_id, (row.split, row.where))


def check_films(films: Iterable[tuple[str, str, str, str]]) -> None:
  """Stops on films that contradict each other, now that headers are known.

  Args:
    films: image id, patient id or '', split, place for the message.

  Raises:
    ValueError: an image id occurs twice, or a patient is in two splits.
  """
  images: dict[str, str] = {}
  patients: dict[str, tuple[str, str]] = {}
  for image_id, patient_id, split, where in films:
    if image_id in images:
      raise ValueError(f"{images[image_id]} and {where} have one image id")
    images[image_id] = where
    if patient_id:
      _check_patient(patients, patient_id, (split, where))


def _check_patient(patients, patient_id, here):
  split, where = here
  before, place = patients.setdefault(patient_id, here)
  if before != split:
    raise ValueError(
      f"one patient is in two splits: {place} is in {before}, {where} in "
      f"{split}; split by patient"
    )
