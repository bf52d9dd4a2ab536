"""PadChest in miniature: 16-bit PNG in numbered folders, lists of labels."""

import pathlib

import numpy as np
from release_trees.files import film, pick, write_csv, write_film

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
LABELS = [
  "normal",
  "cardiomegaly",
  "pleural effusion",
  "pneumonia",
  "NSG tube",
  "aortic elongation",
  "exclude",
  "suboptimal study",
  "unchanged",
]
_COLUMNS = [
  "",  # An index without a name.
  "ImageID",
  "ImageDir",
  "StudyDate_DICOM",
  "StudyID",
  "PatientID",
  "PatientBirth",
  "PatientSex_DICOM",
  "ViewPosition_DICOM",
  "Projection",
  "MethodProjection",
  "Pediatric",
  "Modality_DICOM",
  "Manufacturer_DICOM",
  "PhotometricInterpretation_DICOM",
  "PixelRepresentation_DICOM",
  "PixelAspectRatio_DICOM",
  "SpatialResolution_DICOM",
  "BitsStored_DICOM",
  "WindowCenter_DICOM",
  "WindowWidth_DICOM",
  "Rows_DICOM",
  "Columns_DICOM",
  "XRayTubeCurrent_DICOM",
  "Exposure_DICOM",
  "ExposureInuAs_DICOM",
  "ExposureTime",
  "RelativeXRayExposure_DICOM",
  "ReportID",
  "Report",
  "MethodLabel",
  "Labels",
  "Localizations",
  "LabelsLocalizationsBySentence",
  "labelCUIS",
  "LocalizationsCUIS",
]
_VIEWS = {
  "PA": 60,
  "L": 25,
  "AP": 5,
  "AP_horizontal": 10,
  "COSTAL": 2,
  "EXCLUDE": 2,
}
DAMAGED = {  # Names of the release, and what became of the files here.
  "216840111366964012558082906712009327122220177_00-102-064.png": "absent",
  "216840111366964012373310883942009152114636712_00-102-045.png": "cut",
  "216840111366964012989926673512011083134050913_00-168-009.png": "zeroed",
}


def make_tree(
  folder: pathlib.Path, *, seed: int, num_patients: int, gz: bool = True
) -> None:
  """Writes the tree.

  Args:
    folder: root of the release.
    seed: of everything.
    num_patients: in all; there are no splits.
    gz: compress the table.
  """
  rng = np.random.default_rng(seed)
  rows: list[list] = []
  damaged = iter(DAMAGED)
  for number in range(num_patients):
    patient = [
      f"{rng.integers(10**18)}{number}",
      None if number == 3 else int(rng.integers(1920, 2010)),
      pick(rng, {"M": 5, "F": 5, None: 1}),
    ]
    for _ in range(int(rng.integers(1, 4))):
      image = f"{rng.integers(10**17)}_{rng.integers(10**5)}.png"
      place = int(rng.choice([0, 17, 50, 54]))
      image = next(damaged, image) if number % 9 == 5 else image
      _write(folder / str(place) / image, rng)
      row = dict.fromkeys(_COLUMNS)
      row |= {"": len(rows), "ImageID": image, "ImageDir": place}
      row |= {"StudyDate_DICOM": int(rng.integers(2009, 2018)) * 10000 + 1231}
      row |= zip(
        ("PatientID", "PatientBirth", "PatientSex_DICOM"), patient, strict=True
      )
      row |= {"Projection": pick(rng, _VIEWS), "Labels": _labels(rng)}
      row |= {"Report": pick(rng, {"sin hallazg patolog .": 9, None: 1})}
      rows.append([row[name] for name in _COLUMNS])
  write_csv(folder / f"{TABLE}{'.gz' * gz}", _COLUMNS, rows)


def _labels(rng) -> str | None:
  if rng.random() < 0.03:
    return None
  names = [str(name) for name in rng.choice(LABELS, int(rng.integers(1, 4)))]
  names = [f" {name}" if rng.random() < 0.4 else name for name in names]
  if rng.random() < 0.2:
    names.append("")
  return str(names)


def _write(path: pathlib.Path, rng) -> None:
  state = DAMAGED.get(path.name)
  if state == "absent":
    film(rng)  # So that later films do not depend on it.
    return
  write_film(path, rng, depth=16)
  data = path.read_bytes()
  if state == "cut":
    path.write_bytes(data[: len(data) // 2])
  if state == "zeroed":
    path.write_bytes(data[:40] + bytes(len(data) - 60) + data[-20:])
