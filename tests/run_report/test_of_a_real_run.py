"""The training binary leaves a page behind, with pictures only if asked to."""

import io
import json

import numpy as np
import pytest
import runs
import tiny
from PIL import Image

from scan42_jax.run_report import pictures


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return runs.prepare_films(tmp_path_factory.mktemp("films"))


def test_page_and_pictures_of_a_run(tmp_path, data_dir):
  done = runs.run(
    tmp_path,
    data_dir,
    "--config.schedule.total_steps=4",
    "--config.loop.monitor_every=2",
    "--config.loop.report_films=3",
  )
  assert done.returncode == 0, done.stderr
  page = (tmp_path / "report.html").read_text()
  assert "step 4 of 4" in page and "k-NN" in page
  assert "--config.loop.report_films=3" in page
  assert page.count("data:image/png") == 3  # Crops, and two monitors.
  names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
  assert names == [
    "components_000000002.png",
    "components_000000004.png",
    "crops.png",
  ]
  run = json.loads((tmp_path / "run.json").read_text())
  assert run["base_name"] == "tiny_config.py"
  assert run["base"]["schedule"]["total_steps"] == 40
  assert run["environment"]["processes"] == "1"


def test_no_pictures_unless_asked_for(tmp_path, data_dir):
  done = runs.run(
    tmp_path,
    data_dir,
    "--config.schedule.total_steps=2",
    "--config.loop.monitor_every=1",
  )
  assert done.returncode == 0, done.stderr
  assert "data:image" not in (tmp_path / "report.html").read_text()
  assert not (tmp_path / "pictures").exists()


def test_crops_of_the_first_films_in_rows():
  settings = tiny.settings()
  films = tiny.films(settings)
  sheet = Image.open(io.BytesIO(pictures.draw_crops(films, settings, count=3)))
  few = Image.open(io.BytesIO(pictures.draw_crops(films, settings, count=1)))
  pixels = np.asarray(sheet)
  assert pixels.shape[0] == 3 * np.asarray(few).shape[0]
  # A film's crops depend on that film alone.
  np.testing.assert_array_equal(pixels[: few.height], np.asarray(few))


def test_components_show_what_differs_between_patches():
  rng = np.random.default_rng(0)
  pixels = np.full((2, 32, 32), 200, np.uint8)
  pixels[:, :, :16] = 0  # Border: black, whatever its patches are.
  patches = rng.normal(size=(2, 4, 4, 8)).astype(np.float32)
  sheet = np.asarray(
    Image.open(io.BytesIO(pictures.draw_components(pixels, patches)))
  )
  maps = sheet[sheet.shape[0] // 2 :]
  assert maps[10:140, 5:70].max() == 0
  assert maps[10:140, 80:145].std() > 10
