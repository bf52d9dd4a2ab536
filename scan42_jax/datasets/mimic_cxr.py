"""`mimic_cxr`: MIMIC-CXR-JPG 2.0.0 and 2.1.0, with the reports of MIMIC-CXR."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from scan42_jax.datasets import base, labels, report_sections, tables
from scan42_jax.datasets.reading import Row

FINDINGS = (
  "Atelectasis",
  "Cardiomegaly",
  "Consolidation",
  "Edema",
  "Enlarged Cardiomediastinum",
  "Fracture",
  "Lung Lesion",
  "Lung Opacity",
  "No Finding",
  "Pleural Effusion",
  "Pleural Other",
  "Pneumonia",
  "Pneumothorax",
  "Support Devices",
)

_SPLIT_TABLE = "mimic-cxr-2.0.0-split.csv.gz"
_VIEW_TABLE = "mimic-cxr-2.0.0-metadata.csv.gz"
_LABEL_TABLES = {  # Suffix of the labels: table. 2.1.0 keeps the older names.
  "": "mimic-cxr-2.0.0-chexpert.csv.gz",
  " (NegBio)": "mimic-cxr-2.0.0-negbio.csv.gz",
  " (radiologist)": "mimic-cxr-2.1.0-test-set-labeled.csv",
}
_OPTIONAL_VIEW_COLUMNS = (
  "subject_id",
  "study_id",
  "PerformedProcedureStepDescription",
  "Rows",
  "Columns",
  "StudyDate",
  "StudyTime",
  "ProcedureCodeSequence_CodeMeaning",
  "ViewCodeSequence_CodeMeaning",
  "PatientOrientationCodeSequence_CodeMeaning",
)
_SPLITS = {"train": "train", "validate": "validation", "test": "test"}
# The radiologists' table has another name for this finding.
_OTHER_NAMES = {"Lung Opacity": "Airspace Opacity"}
_REPORT_FOLDERS = ("", "mimic-cxr-reports")

Labels = tuple[int, ...]


class MimicCxr(base.FilmDataset):
  """MIMIC-CXR-JPG: 377,110 films of 227,835 studies of 65,379 patients.

  The source is the folder with `files` and the tables of MIMIC-CXR-JPG. Reports
  (mimic-cxr-reports.zip of MIMIC-CXR) are unpacked there, into `files` or
  `mimic-cxr-reports/files`, and may be absent. Labels are per study, those of
  the CheXpert labeller: -1 is uncertain, blank is not mentioned, a study
  without a row has none. Where the release has them, labels of NegBio and of
  the radiologists (2.1.0, test studies) follow, with the suffixes `(NegBio)`
  and `(radiologist)`. The split is the official one. Johnson et al., 2019,
  https://arxiv.org/abs/1901.07042
  """

  def label_names(self) -> tuple[str, ...]:
    """The 14 labels alphabetically, once for each table of labels."""
    suffixes = self._label_tables()
    return tuple(name + suffix for suffix in suffixes for name in FINDINGS)

  def listed_rows(self) -> Iterator[Row]:
    """Lists the films of the split table."""
    path = tables.find_table(self.options.source, _SPLIT_TABLE)
    views = self._views()
    parse = functools.partial(
      _row,
      views=views,
      labels_of=[
        self._labels(path, suffix)
        for suffix, path in self._label_tables().items()
      ],
    )
    seen = set()
    columns = ("dicom_id", "study_id", "subject_id", "split")
    rows = self.parse_table(path, columns, parse, file_of=_file, optional=())
    for row in rows:
      seen.add(pathlib.PurePosixPath(row.file).stem)
      yield row
    for dicom_id in views:
      if dicom_id not in seen:
        self.add_fault(dicom_id, f"is in {_VIEW_TABLE} but not in {path.name}")

  def film_folders(self) -> Iterable[pathlib.Path]:
    """The folder `files`."""
    folder = self.options.source / "files"
    return [folder] if folder.is_dir() else []

  def texts(self, row: Row) -> dict[str, str]:
    """Reads the report of the film's study, and cuts it into sections."""
    study = pathlib.PurePosixPath(row.file).parent
    report = self._report(f"{study}.txt")
    sections = report_sections.split_report(report, study=study.name)
    return {"report": report, **dataclasses.asdict(sections)}

  def _report(self, file: str) -> str:
    for folder in _REPORT_FOLDERS:
      path = self.options.source / folder / file
      if path.is_file():
        return "".join(tables.read_lines(path, on_fault=_ignore))
    return ""

  def _label_tables(self) -> dict[str, pathlib.Path]:
    """Returns the tables that are there by the suffix of their labels."""
    source = self.options.source
    found = {
      suffix: tables.optional_table(source, name)
      for suffix, name in _LABEL_TABLES.items()
    }
    if found[""] is None:
      tables.find_table(source, _LABEL_TABLES[""])  # Raises.
    return {suffix: path for suffix, path in found.items() if path}

  def _views(self) -> dict[str, str]:
    """Maps films to their view positions."""
    return self.keyed_table(
      tables.find_table(self.options.source, _VIEW_TABLE),
      ("dicom_id", "ViewPosition"),
      lambda cells: (cells["dicom_id"], cells["ViewPosition"]),
      optional=_OPTIONAL_VIEW_COLUMNS,
    )

  def _labels(self, path: pathlib.Path, suffix: str) -> dict[str, Labels]:
    """Maps studies to their labels."""
    if suffix == " (radiologist)":
      return self.keyed_table(path, ("study_id",), _radiologist_labels)
    columns = ("subject_id", "study_id", *FINDINGS)
    return self.keyed_table(path, columns, _machine_labels, optional=())


def _file(cells: tables.Cells) -> str:
  subject = f"p{cells['subject_id']}"
  study = f"{subject[:3]}/{subject}/s{cells['study_id']}"
  return f"files/{study}/{cells['dicom_id']}.jpg"


def _row(
  cells: tables.Cells,
  where: str,
  *,
  views: Mapping[str, str],
  labels_of: list[Mapping[str, Labels]],
) -> Row:
  dicom_id, split = cells["dicom_id"], cells["split"]
  if dicom_id not in views:
    raise ValueError(f"{dicom_id} is not in {_VIEW_TABLE}")
  if split not in _SPLITS:
    raise ValueError(f"split {split!r} is not in {tuple(_SPLITS)}")
  missing = (labels.MISSING,) * len(FINDINGS)
  return Row(
    file=_file(cells),
    image_id=dicom_id,
    patient_id=cells["subject_id"],
    split=_SPLITS[split],
    view=views[dicom_id],
    labels=sum(
      (table.get(cells["study_id"], missing) for table in labels_of), ()
    ),
    where=where,
  )


def _machine_labels(cells: tables.Cells) -> tuple[str, Labels]:
  blank = labels.NOT_MENTIONED
  return cells["study_id"], labels.parse_labels(cells, FINDINGS, blank=blank)


def _radiologist_labels(cells: tables.Cells) -> tuple[str, Labels]:
  values = []
  for name in FINDINGS:
    text = cells.get(name, cells.get(_OTHER_NAMES.get(name, name)))
    blank = labels.NOT_MENTIONED if text is not None else labels.MISSING
    values.append(labels.parse_label(text or "", blank=blank))
  return cells["study_id"], tuple(values)


def _ignore(place: str, reason: str) -> None:
  """Takes the faults of a report, whose text is of use all the same."""
  del place, reason
