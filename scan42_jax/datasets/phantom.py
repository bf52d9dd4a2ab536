"""`phantom`: the embedded dataset, drawn where others are downloaded.

The films are written to the source folder as real DICOM files with PNG masks
and read back from there like those of any release.
"""

import hashlib
import json
from collections.abc import Iterator

from scan42_jax.datasets import base, phantom_files, phantom_film, reading
from scan42_jax.datasets.reading import Row


class Phantom(base.FilmDataset):
  """Procedural chest radiographs of patients who do not exist.

  Lungs, heart, ribs and devices vary in build, pose, exposure and size; seven
  findings come with labels, sides, masks of lungs and heart, and a report.
  Splits are by patient. Every film is the same on every machine.
  """

  MAKES_SOURCE = True
  load = staticmethod(phantom_files.load_or_draw)

  def label_names(self) -> tuple[str, ...]:
    """The seven findings."""
    return phantom_film.LABELS

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films; those not in the source folder are drawn on loading."""
    for number in range(self.options.phantom_films):
      yield _row(number)

  def fingerprint(self, row: Row) -> str:
    """Identifies the drawing of a row; its file may not be there yet."""
    drawing = (row.file, phantom_files.SIZE_PX)
    known = (str(self.VERSION), drawing, self._reading_options())
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _row(number: int) -> Row:
  case = phantom_film.describe(phantom_files.SEED, number)
  name = f"{case.patient_id}/{number:06d}"
  return Row(
    file=f"{name}.dcm",
    image_id=f"{number:06d}",
    patient_id=case.patient_id,
    split=case.split,
    view=case.view,
    sex=case.sex,
    age_years=float(case.age),
    labels=case.labels,
    report=f"FINDINGS: {case.report_findings} IMPRESSION: {case.impression}",
    findings=case.report_findings,
    impression=case.impression,
    masks={mask: f"{name}_{mask}.png" for mask in reading.MASK_NAMES},
    where=f"phantom film {number}",
  )
