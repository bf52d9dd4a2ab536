"""The phantom dataset: real files, read back as they were drawn."""

import film_trees
import numpy as np
import pydicom
import pytest

from scan42_jax.data import images
from scan42_jax.data.pipeline import open_films
from scan42_jax.datasets import phantom_files, phantom_film
from scan42_jax.datasets.phantom_files import (
  sample_storage,
  write_dicom,
  write_mask,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """Forty films, their DICOM files and how they were stored."""
  folder = tmp_path_factory.mktemp("films")
  films = [phantom_film.render(1, n, size_px=96) for n in range(40)]
  stored = []
  for number, film in enumerate(films):
    path = folder / f"{number}.dcm"
    rng = np.random.default_rng(number)
    stored.append((film, path, write_dicom(path, film, rng=rng)))
  return stored


def test_films_are_stored_in_many_ways(written):
  assert {one.photometric for _, _, one in written} == {
    "MONOCHROME1",
    "MONOCHROME2",
  }
  assert {one.bits for _, _, one in written} == {8, 10, 12, 14, 16}
  assert {one.has_window for _, _, one in written} == {True, False}


def test_headers_say_how_a_film_is_stored(written):
  for film, path, storage in written:
    header = pydicom.dcmread(path)
    assert header.PhotometricInterpretation == storage.photometric
    assert header.BitsStored == storage.bits
    assert ("WindowCenter" in header) == storage.has_window
    assert (header.Rows, header.Columns) == film.pixels.shape
    assert header.pixel_array.max() <= storage.high
    assert header.pixel_array.min() >= storage.low


def test_films_read_back_as_they_were_drawn(written):
  for film, path, storage in written:
    read = images.read_film(path)
    expected = film.pixels / 65535 * 255
    if not storage.has_window:  # Then the range of the film is the window.
      expected = expected - expected.min()
      expected = expected * (255 / expected.max())
    # Half a stored level, seen through the window, and the rounding to bytes.
    step = 255 / (storage.high - storage.low)
    assert np.abs(read.pixels - expected).max() <= 1 + 1.1 * step
    assert read.view == film.view
    assert (read.patient_id, read.sex) == (film.patient_id, film.sex)
    assert read.age_years == film.age


def test_bones_are_bright_whatever_the_photometric_interpretation(written):
  for film, path, _ in written:
    pair = film.pixels.ravel(), images.read_film(path).pixels.ravel()
    assert np.corrcoef(pair)[0, 1] > 0.999


def test_storage_does_not_depend_on_the_findings():
  pairs = [
    (phantom_film.describe(1, n), sample_storage(np.random.default_rng(n)))
    for n in range(1500)
  ]
  labels = np.array([case.labels for case, _ in pairs], float)
  others = [[s.bits, s.has_window, s.photometric[-1] == "1"] for _, s in pairs]
  table = np.corrcoef(np.hstack([labels, np.array(others, float)]).T)
  assert np.abs(table[: labels.shape[1], labels.shape[1] :]).max() < 0.15


def test_masks_read_back(tmp_path):
  film = phantom_film.render(1, 0, size_px=96)
  write_mask(tmp_path / "heart.png", film.heart)
  read = images.read_film(tmp_path / "heart.png").pixels
  np.testing.assert_array_equal(read, film.heart * 255)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """Thirty films through the whole preparation."""
  folder = tmp_path_factory.mktemp("phantom")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(phantom_files, "SIZE_PX", 96)
    places = folder / "source", folder / "data"
    few = {"dataset": "phantom", "phantom_films": 30}
    manifest, said = film_trees.prepare(*places, **few)
    again, repeated = film_trees.prepare(*places, **few)
  assert again == manifest
  assert "nothing changed" in repeated[-1]
  return folder, manifest, said


def test_preparation_keeps_all_frontal_films(prepared):
  _, manifest, _ = prepared
  cases = [phantom_film.describe(0, number) for number in range(30)]
  frontal = [case for case in cases if case.view != "LATERAL"]
  assert sum(manifest["films"].values()) == len(frontal)
  assert manifest["quarantined"] == manifest["unknown_patient"] == 0
  assert manifest["label_names"] == list(phantom_film.LABELS)
  for split, count in manifest["films"].items():
    assert count == sum(case.split == split for case in frontal)


def test_raw_films_lie_in_the_source(prepared):
  folder, manifest, _ = prepared
  files = list((folder / "source").rglob("*.dcm"))
  assert len(files) == sum(manifest["films"].values())
  assert len(list((folder / "source").rglob("*.png"))) == 3 * len(files)


def test_reports_come_in_sections(prepared):
  folder, _, _ = prepared
  for example in open_films(folder / "data", "phantom", "train"):
    case = phantom_film.describe(0, int(example["image_id"]))
    assert example["findings"] == case.report_findings
    assert example["impression"] == case.impression
    assert example["findings"] in example["report"]
    assert example["indication"] == ""
