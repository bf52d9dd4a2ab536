"""Films of every form become the same grey levels; others are refused."""

import numpy as np
import pytest
from PIL import Image

from scan42_jax.data.any_film import grey_film, is_film, resize
from scan42_jax.data.film import RejectedFilm
from scan42_jax.data.images import read_film


def _film():
  return np.random.default_rng(0).integers(3, 250, (9, 7)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_pictures_and_files_agree(tmp_path, mode):
  film = _film()
  picture = Image.fromarray(film).convert(mode)
  picture.save(tmp_path / "x.png")
  np.testing.assert_array_equal(grey_film(picture), film)
  np.testing.assert_array_equal(grey_film(str(tmp_path / "x.png")), film)
  np.testing.assert_array_equal(grey_film(Image.open(tmp_path / "x.png")), film)


def test_colour_becomes_luminance_alike(tmp_path):
  colour = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
  Image.fromarray(colour).save(tmp_path / "x.png")
  grey = read_film(tmp_path / "x.png").pixels
  np.testing.assert_array_equal(grey_film(colour), grey)
  np.testing.assert_array_equal(grey_film(Image.fromarray(colour)), grey)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float16])
def test_deep_films_are_scaled(dtype):
  film = np.array([[10, 20], [30, 60]], dtype)
  np.testing.assert_array_equal(grey_film(film), [[0, 51], [102, 255]])


def test_deep_pictures_are_scaled(tmp_path):
  deep = np.array([[1000, 2000], [3000, 6000]], np.uint16)
  picture = Image.fromarray(deep)
  picture.save(tmp_path / "x.png")
  expected = [[0, 51], [102, 255]]
  np.testing.assert_array_equal(grey_film(picture), expected)
  np.testing.assert_array_equal(grey_film(tmp_path / "x.png"), expected)
  floats = Image.fromarray(deep.astype(np.float32))
  np.testing.assert_array_equal(grey_film(floats), expected)


@pytest.mark.parametrize(
  "film, reason",
  [
    (np.zeros(4, np.uint8), "neither"),
    (np.zeros((4, 4, 2), np.uint8), "neither"),
    (np.zeros((0, 4), np.uint8), "0 x 4 pixels"),
    (np.zeros((4, 4), complex), "complex128"),
    (np.array([[np.inf, 1]]), "NaN or Inf"),
    (np.array([["a"]]), "no grey levels"),
  ],
)
def test_what_is_no_film_is_refused(film, reason):
  with pytest.raises(RejectedFilm, match=reason):
    grey_film(film)


def test_one_film_is_told_from_several():
  film = _film()
  for one in ("x.dcm", film, film[..., None], Image.fromarray(film)):
    assert is_film(one)
  for several in ([film], (film,), iter([film]), np.array(["a", "b"])):
    assert not is_film(several)


def test_resize_is_pillows():
  film = _film()
  assert resize(film, film.shape) is film
  np.testing.assert_array_equal(
    resize(film, (5, 11)),
    np.asarray(Image.fromarray(film).resize((11, 5), Image.BICUBIC)),
  )
