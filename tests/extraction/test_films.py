"""Films of a folder and of a prepared dataset, in one way."""

import film_trees
import numpy as np
import pydicom
import pytest

from scan42_jax.data.images import RejectedFilm
from scan42_jax.datasets.reading import Options, stored_id
from scan42_jax.extraction.films import FolderFilms, find_source


@pytest.fixture
def folder(tmp_path):
  """Three films and a broken one."""
  source = tmp_path / "raw"
  for name, seed in (("b/2.png", 2), ("a.png", 1), ("b/1.png", 3)):
    film_trees.write_film(source / name, seed)
  (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n....")
  return source


def _names(films):
  return [films.name(i) for i in range(len(films))]


def test_a_folder_gives_its_films_by_path(folder):
  films = find_source(folder)
  assert _names(films) == ["a.png", "broken.png", "b/1.png", "b/2.png"]
  film = films.read(3)
  np.testing.assert_array_equal(film.pixels, film_trees.film(2))
  assert film.image_id == "b/2.png"
  assert film.patient_id == film.split == film.view == ""
  with pytest.raises(RejectedFilm):
    films.read(1)


def test_a_change_of_films_changes_the_digest(folder):
  before = find_source(folder)
  assert find_source(folder).digest == before.digest
  film_trees.write_film(folder / "broken.png", 9)
  repaired = find_source(folder)
  assert repaired.digest != before.digest
  (folder / "a.png").unlink()
  assert find_source(folder).digest != repaired.digest
  assert find_source(folder, id_salt="x").digest != find_source(folder).digest


def test_real_patients_of_headers_are_hashed_as_in_preparation(
  real_data_dir, tmp_path
):
  source = real_data_dir / "dicom" / "real"
  films = find_source(source, id_salt="secret")
  assert isinstance(films, FolderFilms)
  hashed = 0
  for i in range(len(films)):
    try:
      film = films.read(i)
    except RejectedFilm:
      continue
    header = pydicom.dcmread(source / films.name(i), stop_before_pixels=True)
    patient = str(header.get("PatientID", "")).strip()
    expected = stored_id(patient, Options(id_salt="secret"))
    assert film.patient_id == expected
    assert not patient or patient not in film.patient_id
    hashed += bool(patient)
  assert hashed


def test_a_prepared_dataset_gives_all_its_splits(folder, tmp_path):
  rows = [
    {"file": name, "patient_id": f"p{i}", "split": split, "view": "PA"}
    for i, (name, split) in enumerate(
      [("a.png", "test"), ("b/1.png", "train"), ("b/2.png", "train")]
    )
  ]
  table = film_trees.write_table(tmp_path / "films.csv", rows)
  film_trees.prepare(folder, tmp_path / "data", labels_csv=table)
  films = find_source(tmp_path / "data" / "folder")
  assert not films.equalized
  read = [films.read(i) for i in range(len(films))]
  assert [film.split for film in read] == ["train", "train", "test"]
  assert len({film.image_id for film in read}) == 3
  assert all(len(film.patient_id) == 16 for film in read)
  assert {film.view for film in read} == {"PA"}
  stored = read[2].pixels.astype(int)
  assert np.abs(stored - film_trees.film(1)).max() <= 3
  assert _names(films) == ["folder train 0", "folder train 1", "folder test 0"]


def test_stored_equalisation_is_known(folder, tmp_path):
  (folder / "broken.png").unlink()
  film_trees.prepare(
    folder, tmp_path / "data", published=True, holdout_percent=0.0
  )
  assert find_source(tmp_path / "data" / "folder_published").equalized


def test_wrong_sources_are_explained(folder, tmp_path):
  with pytest.raises(FileNotFoundError, match=r"source .*absent: no such"):
    find_source(tmp_path / "absent")
  (tmp_path / "empty").mkdir()
  with pytest.raises(FileNotFoundError, match=r"empty holds no DICOM, PNG"):
    find_source(tmp_path / "empty")
  (folder / "broken.png").unlink()
  film_trees.prepare(folder, tmp_path / "data", holdout_percent=0.0)
  (version,) = (tmp_path / "data" / "folder").glob("[0-9]*")
  with pytest.raises(ValueError, match=r"one version of a prepared dataset"):
    find_source(version)
