"""Pictures: reading, equalisation, shrinking, encoding."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from scan42_jax.data import film, images


def _ramp(height: int, width: int) -> np.ndarray:
  """A smooth film with a sharp edge, asymmetric in both directions."""
  rows, columns = np.mgrid[:height, :width]
  pixels = 200 * rows / height + 40 * (columns > width / 3)
  return pixels.astype(np.uint8)


def _save(path, picture: Image.Image, **options):
  picture.save(path, **options)
  return path


def test_grey_png_keeps_its_values_whatever_its_name(tmp_path):
  pixels = _ramp(30, 20) // 2 + 40
  path = _save(tmp_path / "film.dcm", Image.fromarray(pixels), format="PNG")
  read = images.read_film(path)
  np.testing.assert_array_equal(read.pixels, pixels)
  assert read.pixels.dtype == np.uint8
  assert (read.view, read.patient_id, read.sex) == ("", "", "")
  assert np.isnan(read.age_years) and not read.burned_in


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_other_modes_become_grey(tmp_path, mode):
  pixels = _ramp(32, 24)
  picture = Image.fromarray(pixels).convert(mode)
  suffix = "jpg" if mode == "CMYK" else "png"
  path = _save(tmp_path / f"film.{suffix}", picture, quality=100)
  read = images.read_film(path).pixels
  assert read.shape == pixels.shape and read.dtype == np.uint8
  assert np.abs(read.astype(int) - pixels).max() <= (3 if mode == "CMYK" else 0)


def test_colour_becomes_luminance(tmp_path):
  rgb = np.zeros((4, 6, 3), np.uint8)
  rgb[:, :2, 0] = rgb[:, 2:4, 1] = rgb[:, 4:, 2] = 255
  path = _save(tmp_path / "film.png", Image.fromarray(rgb))
  assert images.read_film(path).pixels[0].tolist() == [76, 76, 150, 150, 29, 29]


def test_one_bit_png_is_black_and_white(tmp_path):
  picture = Image.fromarray(_ramp(8, 8) > 100)
  read = images.read_film(_save(tmp_path / "mask.png", picture)).pixels
  assert set(read.ravel().tolist()) == {0, 255}


def test_sixteen_bits_are_scaled_and_clipped_only_as_published(tmp_path):
  values = np.linspace(100, 4095, 64 * 50).reshape(64, 50).astype(np.uint16)
  path = _save(tmp_path / "film.png", Image.fromarray(values))
  read = images.read_film(path).pixels
  expected = np.rint((values - 100) / 3995 * 255)
  assert np.abs(read - expected).max() <= 1
  assert (read.min(), read.max()) == (0, 255)
  published = images.read_film(path, published=True).pixels
  clipped = np.minimum(values, 255)
  expected = np.floor((clipped - 100) / 155 * 255).astype(np.uint8)
  np.testing.assert_array_equal(published, expected)
  assert (published == 255).mean() > 0.95


def test_published_stretches_png_but_not_jpeg(tmp_path):
  pixels = _ramp(40, 40) // 4 + 50
  png = _save(tmp_path / "film.png", Image.fromarray(pixels))
  stretched = images.read_film(png, published=True).pixels
  assert (stretched.min(), stretched.max()) == (0, 255)
  jpeg = _save(tmp_path / "film.jpg", Image.fromarray(pixels))
  kept = images.read_film(jpeg, published=True).pixels
  np.testing.assert_array_equal(kept, images.read_film(jpeg).pixels)
  assert kept.max() < 130


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("published", [False, True])
def test_constant_film_divides_by_nothing(tmp_path, bits, published):
  values = np.full((9, 7), 90, f"uint{bits}")
  path = _save(tmp_path / "film.png", Image.fromarray(values))
  read = images.read_film(path, published=published).pixels
  assert len(np.unique(read)) == 1 and read.shape == (9, 7)


@pytest.mark.parametrize("name", ["film.png", "film.jpg"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_picture_is_refused(tmp_path, name, share):
  noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
  path = _save(tmp_path / name, Image.fromarray(noise))
  path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
  with pytest.raises(images.RejectedFilm, match="truncated") as refusal:
    images.read_film(path)
  assert refusal.value.kind == "unreadable"


def test_mutated_pictures_read_or_are_refused(tmp_path):
  rng = np.random.default_rng(1)
  path = tmp_path / "film"
  outcomes = set()
  for form in ("PNG", "JPEG"):
    Image.fromarray(_ramp(24, 24)).save(path, format=form)
    sound = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(100):
      damaged = sound.copy()
      places = rng.integers(8, len(sound), 3)
      damaged[places] = rng.integers(0, 256, 3)
      path.write_bytes(damaged.tobytes())
      try:
        outcomes.add(images.read_film(path).pixels.ndim)
      except images.RejectedFilm as refusal:
        outcomes.add(refusal.kind)
  assert outcomes == {2, "unreadable"}


def test_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
  path = _save(tmp_path / "film.png", Image.fromarray(_ramp(40, 50)))
  monkeypatch.setattr(film, "MAX_PIXELS", 1999)
  monkeypatch.setattr(
    Image.Image, "load", lambda self: pytest.fail("it was decoded")
  )
  with pytest.raises(images.RejectedFilm, match="40 x 50 pixels"):
    images.read_film(path)


def test_large_file_is_refused_before_it_is_read(tmp_path):
  path = tmp_path / "film.png"
  with path.open("wb") as stream:
    stream.truncate(film.MAX_FILE_BYTES + 1)  # sparse: takes no disk
  with pytest.raises(images.RejectedFilm, match="bytes"):
    images.read_film(path)


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b"", "no file of 1 to"),
    (b"patient Doe, chest clear" * 9, "neither DICOM, PNG nor JPEG"),
    (b"GIF89a" + bytes(300), "neither DICOM, PNG nor JPEG"),
    (None, "cannot be opened"),
  ],
)
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, content, reason):
  path = tmp_path / "doe_john.png"
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(images.RejectedFilm, match=reason) as refusal:
    images.read_film(path)
  text = str(refusal.value).lower()
  assert "\n" not in text and "doe" not in text


def test_folder_is_refused(tmp_path):
  with pytest.raises(images.RejectedFilm):
    images.read_film(tmp_path)


def test_odd_images(real_data_dir):
  folder = real_data_dir / "odd_images"
  dicom = real_data_dir / "dicom" / "reference" / "rg1.png"
  films = {}
  for path in sorted(folder.glob("*.png")):
    films[path.name] = images.read_film(path).pixels
    height, width = films[path.name].shape
    reference = np.asarray(
      Image.open(dicom).convert("L").resize((width, height), Image.BOX)
    )
    likeness = np.corrcoef(films[path.name].ravel(), reference.ravel())[0, 1]
    assert likeness > 0.99, path.name
  assert {"gray16.png", "palette.png", "rgba.png"} <= set(films)
  difference = films["rgba.png"].astype(int) - films["palette.png"]
  assert np.abs(difference).max() == 0
  with pytest.raises(images.RejectedFilm, match="truncated"):
    images.read_film(folder / "truncated.jpg")


def test_equalize_histogram_golden(golden_dir):
  stored = np.load(golden_dir / "image_ops.npz")
  assert json.loads(str(stored["meta"]))
  names = [key for key in stored.files if key.endswith("/equalize_hist")]
  assert names
  for name in names:
    pixels = stored["in/" + name.split("/")[1]]
    equalized = images.equalize_histogram(pixels)
    assert equalized.dtype == np.uint8
    np.testing.assert_array_equal(equalized, stored[name])


def test_equalize_histogram_spreads_and_keeps_order():
  rng = np.random.default_rng(3)
  pixels = rng.normal(90, 8, (101, 67)).clip(0, 255).astype(np.uint8)
  equalized = images.equalize_histogram(pixels)
  assert (equalized.min(), equalized.max()) == (0, 255)
  order = np.argsort(pixels, axis=None)
  assert (np.diff(equalized.ravel()[order].astype(int)) >= 0).all()


def test_equalize_histogram_of_two_values_and_of_one():
  pixels = np.array([[7, 7, 9]], np.uint8)
  assert images.equalize_histogram(pixels).tolist() == [[0, 0, 255]]
  constant = np.full((3, 4), 200, np.uint8)
  np.testing.assert_array_equal(images.equalize_histogram(constant), constant)


@pytest.mark.parametrize(
  ("shape", "expected"),
  [
    ((60, 90), (60, 90)),
    ((64, 200), (64, 200)),
    ((128, 256), (64, 128)),
    ((300, 65), (295, 64)),
  ],
)
def test_shrink_bounds_the_short_side_and_never_enlarges(shape, expected):
  shrunk = images.shrink(_ramp(*shape), short_side_px=64)
  assert shrunk.shape == expected and shrunk.dtype == np.uint8


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
  ("short_side_px", "shape"),
  [(133, (304, 264)), (132, (152, 132)), (34, (76, 66))],
)
def test_large_jpegs_are_decoded_smaller(tmp_path, mode, short_side_px, shape):
  picture = Image.fromarray(_ramp(304, 264)).convert(mode)
  path = _save(tmp_path / "film.jpg", picture, quality=95)
  part = images.read_film(path, short_side_px=short_side_px).pixels
  assert part.shape == shape and min(shape) >= short_side_px
  full = images.read_film(path).pixels
  assert full.shape == (304, 264)
  shrunk = [
    images.shrink(film, short_side_px=32).astype(int) for film in (part, full)
  ]
  assert np.abs(shrunk[0] - shrunk[1]).mean() < 1


def test_shrink_is_antialiased():
  checkers = np.indices((256, 256)).sum(0) % 2 * np.uint8(255)
  shrunk = images.shrink(checkers.astype(np.uint8), short_side_px=64)
  assert np.abs(shrunk.astype(int) - 127).max() <= 2


def test_encoded_film_decodes_to_nearly_itself():
  pixels = _ramp(200, 150)
  encoded = images.encode_film(pixels)
  decoded = images.decode_film(encoded)
  assert decoded.shape == pixels.shape and decoded.dtype == np.uint8
  assert np.abs(decoded.astype(int) - pixels).mean() < 1
  assert Image.open(io.BytesIO(encoded)).mode == "L"
  assert len(images.encode_film(pixels, quality=75)) < len(encoded)


def test_decode_film_refuses_damage():
  encoded = images.encode_film(_ramp(64, 64))
  with pytest.raises(images.RejectedFilm):
    images.decode_film(encoded[:300])
