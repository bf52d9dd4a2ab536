"""Films of every form through loaded encoders: numbers, batches, refusals."""

import json
import re
import shutil
import subprocess
import sys

import golden_files
import jax.numpy as jnp
import numpy as np
import pytest
import runs
import tiny_encoder
from PIL import Image

import scan42_jax
from scan42_jax.data.film import RejectedFilm
from scan42_jax.data.images import read_film
from scan42_jax.eval.features import whole_film
from scan42_jax.types import Films

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}
GRID = tiny_encoder.SIDE_PX // tiny_encoder.PATCH


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tiny_encoder.write_encoder(tmp_path_factory.mktemp("e") / "encoder")


@pytest.fixture(scope="module")
def encoder(folder):
  return scan42_jax.load_encoder(folder)


def _film(height=40, width=56, seed=0):
  """A smooth film: resizing noise would test little."""
  low = np.random.default_rng(seed).integers(0, 256, (5, 7)).astype(np.uint8)
  return np.asarray(Image.fromarray(low).resize((width, height)))


def _assert_equal(found, expected, **tolerance):
  for name, value in vars(expected).items():
    np.testing.assert_allclose(getattr(found, name), value, **tolerance)


@pytest.mark.parametrize(
  "name",
  ["hf_dinov2", "hf_dinov2_with_registers", "hf_dinov2_with_registers_swiglu"],
)
def test_golden_features_at_every_size(golden_file, name):
  arrays, _ = golden_files.load(golden_file(name) / "io.npz")
  encoder = scan42_jax.load_encoder(golden_file(name))
  images = golden_files.strip(arrays, "in/pixel_values_")
  assert len(images) > 1
  for size, pixels in images.items():
    features = encoder.encode(golden_files.channels_last(pixels))
    expected = arrays[f"out/{size}/last_hidden_state"]
    count = features.registers.shape[1]
    assert count == encoder.config.num_registers
    np.testing.assert_allclose(features.cls, expected[:, 0], **TOLERANCE)
    np.testing.assert_allclose(
      features.registers, expected[:, 1 : 1 + count], **TOLERANCE
    )
    n, h, w, d = features.patches.shape
    side = encoder.config.patch_size
    assert (n, h * side, w * side) == (len(pixels), *pixels.shape[2:])
    np.testing.assert_allclose(
      features.patches.reshape(n, h * w, d),
      expected[:, 1 + count :],
      **TOLERANCE,
    )


@pytest.fixture(scope="module")
def golden_ops(golden_file):
  return golden_files.load(golden_file("image_ops.npz"))


def _like_golden(encoder, meta):
  return encoder.with_preprocessing(
    resize_px=meta["eval_resize"],
    crop_px=meta["eval_crop"],
    mean=tuple(meta["mean"]),
    std=tuple(meta["std"]),
  )


def test_golden_processor(golden_ops, encoder):
  arrays, meta = golden_ops
  pixels = _like_golden(encoder, meta).prepare(arrays["in/gray"])
  expected = golden_files.channels_last(arrays["out/hf_processor/pixel_values"])
  np.testing.assert_allclose(pixels, expected, atol=1e-6)


def test_golden_equalized_film(golden_ops, encoder):
  arrays, meta = golden_ops
  encoder = _like_golden(encoder, meta)
  equalizing = encoder.with_preprocessing(equalize=True)
  np.testing.assert_array_equal(
    equalizing.prepare(arrays["in/gray"]),
    encoder.prepare(arrays["out/gray/equalize_hist"]),
  )
  assert not np.array_equal(
    equalizing.prepare(arrays["in/gray"]), encoder.prepare(arrays["in/gray"])
  )


def test_squashed_film_is_what_training_evaluates_on(encoder):
  film = _film(61, 83)
  squashing = encoder.with_preprocessing(
    resize_px=24, crop_px=None, squash=True, mean=(0.0,) * 3, std=(1.0,) * 3
  )
  (ours,) = 255 * squashing.prepare(film)[..., 0]
  canvas = np.zeros((1, 96, 96), np.uint8)
  canvas[0, :61, :83] = film
  films = Films(canvas, np.array([61]), np.array([83]), np.array([0]))
  (expected,) = whole_film(films, size_px=24)
  assert np.abs(ours - expected).max() <= 1.001


def test_stored_preprocessing_is_used_and_said(encoder):
  film = _film()
  prepared = encoder.prepare(film)
  assert prepared.shape == (1, 24, 24, 3)
  small = Image.fromarray(film).resize((39, 28), Image.Resampling.BICUBIC)
  expected = (np.asarray(small)[2:26, 7:31] / 255 - 0.5) / 0.25
  np.testing.assert_allclose(prepared[0, ..., 1], expected, atol=1e-6)
  assert str(encoder).endswith(
    "films: shorter side to 28 px, centre 24 x 24 px, mean 0.5, std 0.25"
    " (stored with the weights)"
  )
  assert encoder.source in str(encoder) and "\n" not in str(encoder)
  changed = encoder.with_preprocessing(resize_px=32)
  assert "changed by the caller" in str(changed)
  assert encoder.preprocessing.resize_px == 28


def test_preprocessing_of_the_caller(folder):
  given = scan42_jax.Preprocessing(32, squash=True)
  encoder = scan42_jax.load_encoder(folder, preprocessing=given)
  assert encoder(_film()).patches.shape == (1, 8, 8, tiny_encoder.WIDTH)
  assert "given by the caller" in str(encoder)


def test_shapes_and_dtypes_of_features(encoder):
  features = encoder([_film(), _film(50, 30, seed=1), _film(28, 28, seed=2)])
  width = tiny_encoder.WIDTH
  assert features.cls.shape == (3, width)
  assert features.registers.shape == (3, tiny_encoder.REGISTERS, width)
  assert features.patches.shape == (3, GRID, GRID, width)
  for tokens in vars(features).values():
    assert isinstance(tokens, np.ndarray) and tokens.dtype == np.float32


def test_every_form_of_a_film(encoder, tmp_path):
  film = _film()
  Image.fromarray(film).save(tmp_path / "film.png")
  rgb = np.repeat(film[..., None], 3, axis=2)
  deep = film.astype(np.uint16) * 256 + 77
  Image.fromarray(deep).save(tmp_path / "deep.png")
  stretched = np.rint((film - film.min()) * (255 / np.ptp(film)))
  same = encoder(film)
  for other in (
    str(tmp_path / "film.png"),
    tmp_path / "film.png",
    Image.open(tmp_path / "film.png"),
    Image.fromarray(rgb),
    rgb,
    film[..., None],
    jnp.asarray(film),
  ):
    _assert_equal(encoder(other), same, rtol=1e-5, atol=1e-5)
  same = encoder(stretched.astype(np.uint8))
  for other in (
    tmp_path / "deep.png",
    Image.open(tmp_path / "deep.png"),
    deep,
    film.astype(np.float32) / 7 - 3,
    np.asarray(film, np.float64),
  ):
    _assert_equal(encoder(other), same, rtol=1e-4, atol=1e-4)


def test_batches_change_no_numbers(encoder):
  films = [_film(30 + i, 45 - i, seed=i) for i in range(19)]
  whole = encoder(films)
  for size in (1, 8, 19, 64):
    _assert_equal(encoder(films, batch_size=size), whole, atol=1e-5)
  _assert_equal(encoder(iter(films)), whole, atol=1e-5)
  for i in (0, 18):
    single = encoder(films[i])
    np.testing.assert_allclose(single.cls[0], whole.cls[i], atol=1e-5)
  pixels = encoder.prepare(films)
  _assert_equal(encoder.encode(pixels), whole, atol=1e-5)
  _assert_equal(encoder.encode(pixels, batch_size=3), whole, atol=1e-5)


def test_films_that_are_not_square(encoder):
  wide = encoder.with_preprocessing(resize_px=12, crop_px=None)
  features = wide([_film(30, 60), _film(60, 120, seed=1)])
  assert features.patches.shape == (2, 3, 6, tiny_encoder.WIDTH)
  # Rows and columns are those of the film: they change places with its axes.
  turned = wide(_film(30, 60).T)
  assert turned.patches.shape == (1, 6, 3, tiny_encoder.WIDTH)


def test_half_precision_is_near(folder, encoder):
  half = scan42_jax.load_encoder(folder, dtype="bfloat16")
  ours, exact = half(_film()), encoder(_film())
  assert ours.cls.dtype == np.float32
  assert 0 < np.abs(ours.cls - exact.cls).max() < 0.1
  with pytest.raises(ValueError, match="dtype 'int8' is none of"):
    scan42_jax.load_encoder(folder, dtype="int8")


@pytest.mark.parametrize(
  "shape, message",
  [
    ((1, 24, 26, 3), "pictures of 24 x 26 px cannot be encoded: both sides"),
    ((1, 0, 24, 3), "pictures of 0 x 24 px"),
    ((1, 24, 24, 1), "pixels of shape (1, 24, 24, 1) are not [N, H, W, 3]"),
    ((24, 24, 3), "are not [N, H, W, 3]"),
    ((0, 24, 24, 3), "no films"),
  ],
)
def test_pixels_of_a_wrong_shape(encoder, shape, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    encoder.encode(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
  "films, message",
  [
    ([], "no films"),
    ("absent.png", "absent.png: cannot be opened"),
    (
      np.zeros((2, 24, 24, 3), np.uint8),
      "film 1 of 1: shape (2, 24, 24, 3) is",
    ),
    ([_film(), np.full((3, 3), np.nan)], "film 2 of 2: it holds NaN or Inf"),
    ([_film(), 3], "film 2 of 2: shape () is neither"),
    (np.zeros((3, 3), bool), "numbers of type bool are no grey levels"),
    (np.zeros((0, 3), np.uint8), "0 x 3 pixels, allowed are"),
  ],
)
def test_what_is_no_film(encoder, films, message):
  with pytest.raises(ValueError) as caught:
    encoder(films)
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_corrupt_file_names_itself(encoder, tmp_path):
  good, bad = tmp_path / "good.png", tmp_path / "bad.png"
  Image.fromarray(_film()).save(good)
  bad.write_bytes(good.read_bytes()[:200])
  with pytest.raises(RejectedFilm) as caught:
    encoder([good, bad])
  assert str(caught.value).startswith(f"{bad}: damaged or truncated picture")


def test_films_of_different_shapes_after_preparation(encoder):
  whole = encoder.with_preprocessing(resize_px=12, crop_px=None)
  with pytest.raises(ValueError) as caught:
    whole([_film(30, 60), _film(30, 30)])
  assert str(caught.value) == (
    "film 2 of 2 becomes 12 x 12 px, the first one 12 x 24 px: crop or squash"
    " them, or encode films of one shape at a time"
  )
  with pytest.raises(ValueError, match="multiples of the patch size 4"):
    whole(_film(30, 45))


def test_bad_batch_size(encoder):
  with pytest.raises(ValueError, match="batch_size=0 is not positive"):
    encoder(_film(), batch_size=0)


def test_real_film_of_every_kind(encoder, real_data_dir):
  paths = [
    *sorted((real_data_dir / "dicom" / "real").glob("*.dcm")),
    real_data_dir / "odd_images" / "gray16.png",
  ]
  features = encoder(paths)
  assert len(features.cls) == len(paths) == 5
  one = encoder(read_film(paths[2]).pixels)
  np.testing.assert_allclose(features.cls[2], one.cls[0], atol=1e-5)


DOCUMENTS = [
  path
  for path in (runs.ROOT / "docs" / "encoder.md", runs.ROOT / "README.md")
  if "load_encoder(" in path.read_text()
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_example_runs_as_written(document, tmp_path, real_data_dir):
  """The first example that loads an encoder: a hub id and a DICOM file."""
  blocks = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
  code = next(block for block in blocks if "load_encoder(" in block)
  (model_id,) = re.findall(r'load_encoder\("([^"]+)"\)', code)
  (name,) = re.findall(r'encoder\("([^"]+\.dcm)"\)', code)
  cached = tmp_path / f"models--{model_id.replace('/', '--')}"
  tiny_encoder.write_encoder(cached / "snapshots" / "0123")
  (cached / "refs").mkdir()
  (cached / "refs" / "main").write_text("0123")
  film = sorted((real_data_dir / "dicom" / "real").glob("*.dcm"))[0]
  shutil.copy(film, tmp_path / name)
  after = (
    "import json\n"
    "shapes = [x.shape for x in vars(features).values()]\n"
    "print(json.dumps(shapes))"
  )
  done = subprocess.run(
    [sys.executable, "-c", f"{code}\n{after}"],
    cwd=tmp_path,
    env=runs.environment()
    | {"HF_HUB_CACHE": str(tmp_path), "PYTHONPATH": str(runs.ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  width = tiny_encoder.WIDTH
  assert json.loads(done.stdout.splitlines()[-1]) == [
    [1, width],
    [1, tiny_encoder.REGISTERS, width],
    [1, GRID, GRID, width],
  ]


def test_public_names_come_late_and_others_not_at_all():
  assert {"load_encoder", "Encoder", "EncoderFeatures"} <= set(dir(scan42_jax))
  assert scan42_jax.Encoder.__module__ == "scan42_jax.encoder"
  with pytest.raises(AttributeError, match="has no attribute 'load_decoder'"):
    scan42_jax.load_decoder  # noqa: B018
