"""Nothing of a patient gets out: every text of a header is planted and sought.

Only what the allow-list names may be stored, and ids only as hashes.
"""

import film_trees
import numpy as np
import pydicom
import pytest
from film_trees import prepare, run_prepare
from pydicom import datadict, dataset, uid

from scan42_jax.data import pipeline
from scan42_jax.datasets import chexpert

# pydicom finds fault with the marks.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MARK = "QZPHI"  # In every planted text, in whatever form a tag allows.

# What says that a file is a film, and how its pixels are stored and shown.
_PICTURE = {
  "Modality", "PresentationIntentType", "NumberOfFrames", "Rows", "Columns",
  "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation",
  "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
  "RescaleSlope", "RescaleIntercept", "VOILUTFunction", "WindowCenter",
  "WindowWidth", "BurnedInAnnotation", "TransferSyntaxUID",
}  # fmt: skip
_TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}


def _keywords():
  """Every standard tag outside file meta and pixels that may hold text."""
  for tag, (vr, *_, keyword) in datadict.DicomDictionary.items():
    if tag >> 16 > 2 and vr in _TEXTS and keyword not in _PICTURE:
      yield keyword, vr


def write_marked(path, *, burned_in="NO", cut=False):
  """Writes a film whose header holds the mark in every text tag."""
  meta = dataset.FileMetaDataset()
  meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
  meta.MediaStorageSOPInstanceUID = "2.25.990117"
  meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  film = dataset.FileDataset(
    str(path), {}, file_meta=meta, preamble=MARK.encode().ljust(128, b"\0")
  )
  for keyword, vr in _keywords():
    text = f"{MARK} {keyword}"[: 16 if vr in ("CS", "SH", "AE") else 60]
    setattr(film, keyword, text)
  film.add(pydicom.DataElement(0x00090010, "LO", f"{MARK} PRIVATE"))
  film.add(pydicom.DataElement(0x00091001, "LO", f"{MARK} SECRET"))
  film.PatientBirthDate, film.StudyDate = "19011213", "19990117"
  film.SOPInstanceUID = "2.25.990117"
  film.Modality, film.PresentationIntentType = "DX", "FOR PRESENTATION"
  film.BurnedInAnnotation = burned_in
  film.Rows, film.Columns, film.SamplesPerPixel = 20, 16, 1
  film.BitsAllocated = film.BitsStored = 8
  film.HighBit, film.PixelRepresentation = 7, 0
  film.PhotometricInterpretation = "MONOCHROME2"
  film.PixelData = np.arange(320, dtype=np.uint16).astype(np.uint8).tobytes()
  path.parent.mkdir(parents=True, exist_ok=True)
  pydicom.dcmwrite(path, film)
  if cut:
    path.write_bytes(path.read_bytes()[:-200])


@pytest.fixture
def source(tmp_path):
  """Six marked films, one of them cut, one with text in its picture."""
  for i in range(4):
    write_marked(tmp_path / "raw" / f"{i}.dcm")
  write_marked(tmp_path / "raw" / "cut.dcm", cut=True)
  write_marked(tmp_path / "raw" / "burned.dcm", burned_in="YES")
  return tmp_path / "raw"


def _assert_no_trace(text):
  for secret in (MARK, "19011213", "19990117", "2.25.990117"):
    assert secret.lower() not in str(text).lower()


def _contents(folder):
  for path in folder.rglob("*"):
    if path.is_file():
      yield path.name
      yield path.read_bytes().decode("latin-1")


def test_the_films_do_hold_what_is_sought(source):
  content = (source / "0.dcm").read_bytes().decode("latin-1")
  assert content.count(MARK) > 1000


def test_no_header_text_reaches_shards_lists_or_messages(source, tmp_path):
  data_dir = tmp_path / "data"
  done = run_prepare(
    "--dataset=folder",
    f"--source={source}",
    f"--data_dir={data_dir}",
    "--max_broken_percent=50",
  )
  assert done.returncode == 0, done.stderr
  assert "'text burned into the film': 1" in done.stdout
  for text in (done.stdout, done.stderr, *_contents(data_dir)):
    _assert_no_trace(text)
  examples = []
  for split in ("train", "validation", "test"):
    try:
      examples += pipeline.open_films(data_dir, "folder", split)
    except ValueError:
      continue  # One patient is in one split.
  assert len(examples) == 4
  for example in examples:
    _assert_no_trace({k: v for k, v in example.items() if k != "image"})
    _assert_no_trace(example["image"].decode("latin-1"))
    assert len(example["patient_id"]) == 16
    assert (example["view"], example["sex"]) == ("", "")


def test_a_stopped_preparation_keeps_no_header_text_either(source, tmp_path):
  done = run_prepare(
    "--dataset=folder",
    f"--source={source}",
    f"--data_dir={tmp_path / 'data'}",
    "--max_broken_percent=0",
  )
  assert done.returncode == 1
  assert "1 of 6 rows and files are broken" in done.stderr
  names = [path.name for path in (tmp_path / "data").rglob("*")]
  assert "quarantine.csv" in names
  for text in (done.stdout, done.stderr, *_contents(tmp_path / "data")):
    _assert_no_trace(text)


def test_burned_in_films_are_kept_on_request(source, tmp_path):
  manifest, _ = prepare(source, tmp_path / "data", keep_burned_in=True)
  assert sum(manifest["films"].values()) == 5 and not manifest["skipped"]


def test_ids_of_any_dataset_are_hashed_on_request(tmp_path):
  table = ["Path,Sex,Age,Frontal/Lateral,AP/PA"]
  table[0] += "," + ",".join(chexpert.LABEL_NAMES)
  for i in range(3):
    file = f"train/patient0000{i}/study1/view1_frontal.jpg"
    film = tmp_path / "raw" / file
    film.parent.mkdir(parents=True)
    film_trees.write_film(film, seed=i)
    table.append(f"CheXpert-v1.0/{file},Male,50,Frontal,PA" + ",1.0" * 14)
  (tmp_path / "raw" / "train.csv").write_text("\n".join(table) + "\n")
  ids = []
  for name, salt in (("one", "a"), ("two", "a"), ("three", "b")):
    prepare(
      tmp_path / "raw", tmp_path / "data", dataset="chexpert", name=name,
      hash_ids=True, id_salt=salt,
    )  # fmt: skip
    films = pipeline.open_films(tmp_path / "data", name, "train")
    ids.append({(film["image_id"], film["patient_id"]) for film in films})
    assert all("patient" not in i + p for i, p in ids[-1])
  assert ids[0] == ids[1] and not ids[0] & ids[2] and len(ids[0]) == 3


def test_hashing_published_ids_without_a_secret_is_refused(source, tmp_path):
  with pytest.raises(ValueError, match="hash_ids needs an id_salt"):
    prepare(source, tmp_path / "data", hash_ids=True)
