"""Copies of films are known again, strangers are not; on phantoms and films."""

import io

import numpy as np
import pytest
from PIL import Image

from scan42_jax.data import images, signatures
from scan42_jax.datasets import phantom_film


def _jpeg(pixels, quality):
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
  return images.decode_film(stream.getvalue())


def _window(pixels):
  low, high = np.percentile(pixels, (5, 95))
  return ((pixels - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


ALTERATIONS = {
  "smaller": lambda p: images.shrink(p, short_side_px=128),
  "compressed": lambda p: _jpeg(p, 30),
  "equalised": images.equalize_histogram,
  "inverted": lambda p: 255 - p,
  "windowed": _window,
  "padded": lambda p: np.pad(p, [(20, 10), (0, 30)]),
  "all": lambda p: _jpeg(
    images.shrink(255 - images.equalize_histogram(p), short_side_px=160), 50
  ),
}


@pytest.fixture(scope="module")
def films():
  """Thirty phantoms."""
  films = [phantom_film.render(5, number, size_px=256) for number in range(30)]
  return [(film.pixels >> 8).astype(np.uint8) for film in films]


def _similarities(first, second):
  return (
    signatures.similarity(
      signatures.coarse_signature(first), signatures.coarse_signature(second)
    ),
    signatures.similarity(
      signatures.fine_signature(first), signatures.fine_signature(second)
    ),
  )


@pytest.mark.parametrize("name", ALTERATIONS)
def test_copies_are_alike(films, name):
  for film in films[::3]:
    coarse, fine = _similarities(film, ALTERATIONS[name](film))
    assert coarse > signatures.COARSE_THRESHOLD
    assert fine > signatures.FINE_THRESHOLD


def test_strangers_are_not(films):
  for i, film in enumerate(films):
    for other in films[:i]:
      assert _similarities(film, other)[1] < signatures.FINE_THRESHOLD


def test_signatures_have_unit_length_and_their_size(films):
  signature = signatures.coarse_signature(films[0])
  assert signature.shape[1] == signatures.COARSE_SIZE
  assert signatures.similarity(signature, signature) == pytest.approx(1)
  padded = np.pad(films[0], 40)
  assert len(signatures.coarse_signature(padded)) == 2


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (64, 64)])
def test_flat_and_tiny_films_match_nothing(shape):
  flat = signatures.coarse_signature(np.full(shape, 7, np.uint8))
  assert signatures.similarity(flat, flat) == 0


def test_borders_are_cut_off():
  rng = np.random.default_rng(0)
  inside = rng.integers(0, 256, (300, 400)).astype(np.uint8)
  padded = np.pad(inside, [(30, 60), (0, 90)], constant_values=9)
  trimmed = signatures.trim_border(padded)
  assert abs(trimmed.shape[0] - 300) <= 4 and abs(trimmed.shape[1] - 400) <= 4
  assert signatures.trim_border(inside).shape == inside.shape
  flat = np.zeros((50, 50), np.uint8)
  assert signatures.trim_border(flat).shape == (50, 50)


def test_real_film_is_found_in_another_release(real_data_dir):
  dicom = images.read_film(
    next((real_data_dir / "dicom" / "real").glob("nih_*.dcm"))
  ).pixels
  folder = real_data_dir / "nih_cxr14" / "images_518"
  found = [
    path.name
    for path in sorted(folder.glob("*.jpg"))
    if min(_similarities(dicom, images.read_film(path).pixels))
    >= signatures.FINE_THRESHOLD
  ]
  assert found == ["00000002_000.jpg"]


def test_derived_dicom_files_are_copies_of_their_film(real_data_dir):
  folder = real_data_dir / "dicom"
  film = images.read_film(folder / "real" / "nema_RG1_J2KI.dcm").pixels
  compared = 0
  for path in sorted((folder / "derived").glob("rg1_*.dcm")):
    try:
      copy = images.read_film(path).pixels
    except images.RejectedFilm:
      continue  # One is cut.
    compared += 1
    coarse, fine = _similarities(film, copy)
    assert coarse >= signatures.COARSE_THRESHOLD, path.name
    assert fine >= signatures.FINE_THRESHOLD, path.name
  assert compared >= 9
