"""MIMIC-CXR-JPG in miniature, with reports as MIMIC-CXR writes them."""

import pathlib

import numpy as np
from release_trees.files import pick, write_csv, write_film

LABELS = [
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
]
_METADATA = [
  "dicom_id",
  "subject_id",
  "study_id",
  "PerformedProcedureStepDescription",
  "ViewPosition",
  "Rows",
  "Columns",
  "StudyDate",
  "StudyTime",
  "ProcedureCodeSequence_CodeMeaning",
  "ViewCodeSequence_CodeMeaning",
  "PatientOrientationCodeSequence_CodeMeaning",
]
_MARKS = {None: 0.75, "1.0": 0.12, "0.0": 0.08, "-1.0": 0.05}
_VIEWS = {
  "PA": 30,
  "AP": 40,
  "LATERAL": 15,
  "LL": 10,
  None: 4,
  "AP AXIAL": 1,
  "AP LLD": 1,
  "PA RLD": 1,
  "SWIMMERS": 1,
  "XTABLE LATERAL": 1,
}
_FINDINGS = [
  "The lungs are clear.  Heart size is normal.",
  "There is a small left pleural effusion.",
  "Bibasilar opacities are seen, compared with ___.",
]
_IMPRESSIONS = ["No acute process.", "Small effusion.", "Possible pneumonia."]


def make_tree(
  folder: pathlib.Path,
  *,
  seed: int,
  num_patients: int,
  version: str = "2.1.0",
  reports: str | None = "files",
) -> None:
  """Writes the tree.

  Args:
    folder: root of the release.
    seed: of everything.
    num_patients: a tenth each in validate and test.
    version: 2.1.0 adds labels by radiologists for studies of the test set.
    reports: folder below the root that holds `p10/...`; None for no reports.
  """
  rng = np.random.default_rng(seed)
  films, metadata, machine, other, gold = [], [], [], [], []
  for number in range(num_patients):
    subject = str(10000000 + 37 * number * (1 + 25000 * (number % 2)))
    split = {8: "validate", 9: "test"}.get(number % 10, "train")
    for _ in range(int(rng.integers(1, 4))):
      study = str(rng.integers(50000000, 60000000))
      place = f"p{subject[:2]}/p{subject}/s{study}"
      for _ in range(int(rng.integers(1, 4))):
        dicom = "-".join(f"{rng.integers(2**32):08x}" for _ in range(5))
        write_film(folder / "files" / place / f"{dicom}.jpg", rng)
        films.append([dicom, study, subject, split])
        metadata.append(_metadata(rng, dicom, subject, study))
      marks = [[pick(rng, _MARKS) for _ in LABELS] for _ in range(3)]
      if len(machine) != 2:  # A few studies have no row.
        machine.append([subject, study, *marks[0]])
        other.append([subject, study, *marks[1]])
      else:
        machine.append(None)
      if split == "test" and rng.random() < 0.7:
        gold.append([study, *marks[2]])
      if reports:
        _write_report(folder / reports / f"{place}.txt", rng)
  _write_tables(folder, films, metadata, machine, other)
  if version == "2.1.0":
    names = ["Airspace Opacity" if n == "Lung Opacity" else n for n in LABELS]
    name = "mimic-cxr-2.1.0-test-set-labeled.csv"
    write_csv(folder / name, ["study_id", *names], gold)


def _write_tables(folder, films, metadata, machine, other):
  stem = "mimic-cxr-2.0.0"
  columns = ["dicom_id", "study_id", "subject_id", "split"]
  write_csv(folder / f"{stem}-split.csv.gz", columns, films)
  write_csv(folder / f"{stem}-metadata.csv.gz", _METADATA, metadata)
  columns = ["subject_id", "study_id", *LABELS]
  machine = [row for row in machine if row]
  write_csv(folder / f"{stem}-chexpert.csv.gz", columns, machine)
  write_csv(folder / f"{stem}-negbio.csv.gz", columns, other)


def _metadata(rng, dicom, subject, study):
  view = pick(rng, _VIEWS)
  code = {"PA": "postero-anterior", "AP": "antero-posterior"}.get(view)
  return [
    dicom,
    subject,
    study,
    "CHEST (PA AND LAT)",
    view,
    3056,
    2544,
    21800506,
    213014.531,
    "CHEST (PA AND LAT)",
    code,
    "Erect",
  ]


def _write_report(path: pathlib.Path, rng: np.random.Generator) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  kind = int(rng.integers(5))
  lines = ["                                FINAL REPORT"]
  if kind == 0:  # Addendum above a line, then the report.
    lines = ["ADDENDUM  Read with Dr. ___.", "", "_" * 78, *lines]
  lines += ["EXAMINATION:  CHEST (PA AND LAT)", ""]
  lines += ["INDICATION:  ___ year old with cough  // pneumonia?", ""]
  if kind == 1:  # Neither findings nor impression.
    lines += ["PA and lateral views.", "", str(rng.choice(_FINDINGS))]
  else:
    lines += ["COMPARISON:  None.", "", "FINDINGS:", ""]
    lines += [str(rng.choice(_FINDINGS)), ""] if kind != 2 else [""]
    head = "IMPRESSON" if kind == 3 else "IMPRESSION"
    lines += [f"{head}:  {rng.choice(_IMPRESSIONS)}"]
  path.write_text("".join(f" {line}\n" for line in lines))
