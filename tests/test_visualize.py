"""The pictures binary on small films and, where they are, real ones."""

import base64
import io
import pathlib
import re
import subprocess
import sys

import film_trees
import numpy as np
import pytest
import tiny_encoder
from PIL import Image

from scan42_jax import load_encoder
from scan42_jax.pictures import gallery
from scan42_jax.pictures.figures import FILM_PX

POINTS = [(0.5, 0.5), (0.1, 0.9)]
FIGURES = [
  "film",
  "attention_cls_mean",
  "components",
  "similarity_1",
  "similarity_2",
  "attention_cls",
  "attention_register_1",
  "attention_register_2",
]


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
  return tiny_encoder.write_encoder(tmp_path_factory.mktemp("e") / "encoder")


@pytest.fixture(scope="module")
def encoder(encoder_folder):
  return load_encoder(encoder_folder)


def _write(encoder, images, output, points=POINTS):
  said = []
  page = gallery.write_gallery(
    encoder, images, output=output, points=points, say=said.append
  )
  return page.read_text(encoding="utf-8"), said


def _size(path):
  with Image.open(path) as picture:
    return picture.size


def test_pictures_and_page(encoder, tmp_path):
  films = [
    film_trees.write_film(tmp_path / "a & b.png", 1, height=60, width=30),
    film_trees.write_film(tmp_path / "c.jpg", 2, height=40, width=64),
  ]
  text, said = _write(encoder, films, tmp_path / "out")
  assert not said
  found = {path.stem for path in (tmp_path / "out").glob("*.png")}
  assert found == {f"film_{i}_{name}" for i in (1, 2) for name in FIGURES}
  embedded = re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
  assert len(embedded) == 2 * len(FIGURES)
  for data in embedded:
    Image.open(io.BytesIO(base64.b64decode(data))).load()
  assert "a &amp; b.png" in text and "a & b.png" not in text
  assert str(tmp_path) not in text.replace(str(encoder), "")
  assert not (tmp_path / "out" / "index.html.tmp").exists()


def test_films_keep_their_shape(encoder, tmp_path):
  film = film_trees.write_film(tmp_path / "a.png", 1, height=60, width=30)
  squashed = encoder.with_preprocessing(
    squash=True, crop_px=None, resize_px=tiny_encoder.SIDE_PX
  )
  for i, which in enumerate((encoder, squashed)):
    _write(which, [film], tmp_path / str(i))
    for name in ("film", "attention_cls_mean", "components", "similarity_1"):
      size = _size(tmp_path / str(i) / f"film_1_{name}.png")
      assert size == (FILM_PX // 2, FILM_PX)


def test_a_page_does_not_depend_on_the_order_of_work(encoder, tmp_path):
  """Features do not leak from film to film; only the components are joint."""
  films = [
    film_trees.write_film(tmp_path / f"{i}.png", i, height=50) for i in range(3)
  ]
  _write(encoder, films, tmp_path / "all")
  _write(encoder, films[2:], tmp_path / "one")
  for name in FIGURES:
    one, other = (
      (tmp_path / folder / f"film_{number}_{name}.png").read_bytes()
      for folder, number in (("all", 3), ("one", 1))
    )
    assert (one == other) == (name != "components"), name


def test_a_broken_film_is_left_out_and_named(encoder, tmp_path):
  good = film_trees.write_film(tmp_path / "good.png", 1)
  broken = tmp_path / "broken.png"
  broken.write_bytes(good.read_bytes()[:50])
  text, (line,) = _write(encoder, [broken, good], tmp_path / "out")
  assert "broken.png is left out: damaged" in line
  assert "good.png" in text and "broken" not in text
  with pytest.raises(ValueError, match="none of 1 images can be used"):
    _write(encoder, [broken], tmp_path / "none")


def test_real_films(encoder, real_data_dir, tmp_path):
  texts = [
    f"{real_data_dir}/nih_cxr14/images_518/0000000*.*",
    f"{real_data_dir}/dicom/real/*.dcm",
  ]
  films = gallery.find_images(texts)
  assert {film.suffix for film in films} > {".dcm"}
  text, said = _write(encoder, films[:2] + films[-3:], tmp_path / "out")
  assert text.count("<section") == 5 - len(said) >= 4
  for film in (tmp_path / "out").glob("*_film.png"):
    assert np.asarray(Image.open(film)).std() > 20


def test_images_are_found_by_path_folder_and_glob(tmp_path):
  files = [
    film_trees.write_film(tmp_path / name, 1)
    for name in ("b.png", "x/a.jpg", "x/y/c.png")
  ]
  b, a, c = files
  (tmp_path / "x" / "notes.txt").write_text("no film")
  find = gallery.find_images
  assert find([str(b)]) == [b]
  assert find([str(tmp_path / "x")]) == [a, c]
  assert find([f"{tmp_path}/**/*.png"]) == [b, c]
  assert find([str(c), f"{tmp_path}/**/*.png"]) == [c, b]


@pytest.mark.parametrize(
  ("texts", "message"),
  [
    (["absent.png"], r"absent\.png: no such image"),
    (["*.dcm"], r"no image matches .*\*\.dcm"),
    (["empty"], "empty holds no DICOM, PNG or JPEG"),
  ],
)
def test_images_that_are_not_there(tmp_path, texts, message):
  (tmp_path / "empty").mkdir()
  with pytest.raises(FileNotFoundError, match=message):
    gallery.find_images([str(tmp_path / text) for text in texts])


def test_a_page_has_room_for_so_many(tmp_path, monkeypatch):
  monkeypatch.setattr(gallery, "MOST_FILMS", 2)
  for i in range(3):
    film_trees.write_film(tmp_path / f"{i}.png", i)
  with pytest.raises(ValueError, match="3 images for one page, at most 2"):
    gallery.find_images([str(tmp_path)])


def _run(**flags):
  return subprocess.run(
    [
      sys.executable,
      "-m",
      "scan42_jax.visualize",
      *(f"--{name}={value}" for name, value in flags.items()),
    ],
    capture_output=True,
    text=True,
    timeout=300,
    env=film_trees.environment() | {"XLA_FLAGS": ""},
  )


def test_the_command(encoder_folder, tmp_path):
  film = film_trees.write_film(tmp_path / "a.png", 1)
  output = tmp_path / "new" / "out"
  done = _run(
    encoder=encoder_folder, images=film, output=output, point="0.2,0.3"
  )
  assert done.returncode == 0, done.stderr
  assert str(output / "index.html") in done.stdout.splitlines()[-1]
  names = sorted(path.name for path in output.glob("*similarity*"))
  assert names == ["film_1_similarity_1.png"]


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"images": "absent.png"}, "absent.png: no such image"),
    ({"point": "2,0.5"}, "'2,0.5' is not x,y with both in 0..1"),
    ({"encoder": "absent"}, "absent"),
    ({"output": "a.png/out"}, "a.png/out: Not a directory"),
  ],
)
def test_mistakes_end_in_one_line(encoder_folder, tmp_path, changes, message):
  film = film_trees.write_film(tmp_path / "a.png", 1)
  flags = {"encoder": encoder_folder, "images": film, "output": tmp_path / "o"}
  for name, value in changes.items():
    flags[name] = value if name == "point" else tmp_path / value
  done = _run(**flags)
  (line,) = done.stderr.splitlines()
  assert done.returncode == 1
  assert line.startswith("error: ") and message in line
  assert not (pathlib.Path(flags["output"]) / "index.html").exists()
