"""Films that pretraining and evaluation share: found, reported, left out."""

import csv
import shutil
import subprocess
import sys

import film_trees
import numpy as np
import pytest

from scan42_jax.data import images, overlap, overlap_report, pipeline
from scan42_jax.datasets import phantom_film

HOSTILE = "<b>x</b>"


def _write(folder, name, pixels):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(images.encode_png(pixels))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """Pretraining films 0-9 and evaluation films, some of them the same.

  The evaluation has film 2 as it is, film 3 equalised, inverted and smaller,
  one of the patient of film 4, and strangers.
  """
  root = tmp_path_factory.mktemp("leakage")
  films = [
    (phantom_film.render(5, number, size_px=200).pixels >> 8).astype(np.uint8)
    for number in range(20)
  ]
  rows = []
  for number in range(10):
    _write(root / "a", f"{number}.png", films[number])
    rows.append(
      {"file": f"{number}.png", "patient_id": f"p{number}", "split": "train"}
    )
  tables = [film_trees.write_table(root / "a.csv", rows)]
  _write(root / "b", "same.png", films[2])
  altered = images.shrink(
    255 - images.equalize_histogram(films[3]), short_side_px=150
  )
  _write(root / "b", f"{HOSTILE}.png".replace("/", "_"), altered)
  _write(root / "b", "again.png", films[14])
  rows = [
    {"file": "same.png", "patient_id": "q2", "split": "test"},
    {"file": f"{HOSTILE}.png".replace("/", "_"), "patient_id": "q3",
     "split": "test"},
    {"file": "again.png", "patient_id": "p4", "split": "validation"},
  ]  # fmt: skip
  for number in range(15, 20):
    _write(root / "b", f"{number}.png", films[number])
    rows.append(
      {"file": f"{number}.png", "patient_id": f"q{number}", "split": "train"}
    )
  tables.append(film_trees.write_table(root / "b.csv", rows))
  for name, table in zip("ab", tables, strict=True):
    film_trees.prepare(
      root / name, root / "data", name=name, labels_csv=table, keep_ids=True
    )
  return root / "data"


def _run(data_dir, output, *arguments):
  command = [sys.executable, "-m", "scan42_jax.data.leakage", "--workers=0"]
  return subprocess.run(
    [*command, f"--data_dir={data_dir}", f"--output={output}", *arguments],
    capture_output=True,
    text=True,
    env=film_trees.environment(),
  )


def test_shared_films_and_patients_are_found_and_left_out(data_dir, tmp_path):
  done = _run(data_dir, tmp_path, "--pretraining=a", "--evaluation=b")
  assert done.returncode == 0, done.stderr
  assert "3 films to leave out" in done.stdout
  with (tmp_path / "leakage.csv").open() as stream:
    found = {
      (row["image_id"], row["kind"], row["twin_image_id"])
      for row in csv.DictReader(stream)
    }
  assert found == {
    ("4.png", "same patient", "again.png"),
    ("2.png", "same pixels", "same.png"),
    ("3.png", "near-duplicate", "<b>x<_b>.png"),
  }
  page = (tmp_path / "leakage.html").read_text()
  assert "<img" not in page and "<b>" not in page
  films = pipeline.open_films(data_dir, "a", "train", excluded_by=("leakage",))
  kept = {film["image_id"] for film in films}
  assert kept == {f"{number}.png" for number in (0, 1, 5, 6, 7, 8, 9)}


def test_pairs_are_shown_on_request_and_escaped(data_dir, tmp_path):
  done = _run(
    data_dir, tmp_path, "--pretraining=a", "--evaluation=b", "--thumbnails=3",
    "--exclusions=other",
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  page = (tmp_path / "leakage.html").read_text()
  assert page.count("<img") == 1 and "<b>" not in page
  assert (data_dir / "exclusions" / "other.csv").is_file()


def test_a_set_without_a_find_counts_as_looked_through(data_dir, tmp_path):
  done = _run(
    data_dir, tmp_path, "--pretraining=a", "--evaluation=b",
    "--evaluation_splits=train", "--exclusions=none",
  )  # fmt: skip
  assert "0 films to leave out" in done.stdout, done.stderr
  films = pipeline.open_films(data_dir, "a", "train", excluded_by=("none",))
  assert len(films) == 10
  with pytest.raises(ValueError, match="does not cover: dataset b"):
    pipeline.open_films(data_dir, "b", "train", excluded_by=("none",))


def test_patients_of_other_origin_are_not_compared(data_dir, tmp_path):
  shutil.copytree(data_dir, tmp_path / "data")
  (manifest,) = (tmp_path / "data" / "b").glob("*/manifest.json")
  manifest.write_text(
    manifest.read_text().replace(
      '"patients_of": "folder"', '"patients_of": "elsewhere"'
    )
  )
  films = overlap.scan(tmp_path / "data", "a", "train", num_workers=0)
  others = overlap.scan(tmp_path / "data", "b", "validation", num_workers=0)
  assert overlap.find_overlaps(films, others) == []
  table = overlap_report.summary([(films, others, [])])
  assert "not comparable" in table.rows[0]


def test_workers_and_blocks_change_nothing(data_dir, monkeypatch):
  films = [overlap.scan(data_dir, "a", "train", num_workers=n) for n in (0, 1)]
  others = overlap.scan(data_dir, "b", "test", num_workers=0)
  whole = overlap.find_overlaps(films[0], others)
  monkeypatch.setattr(overlap, "_BLOCK", 3)
  assert overlap.find_overlaps(films[1], others) == whole and whole


def test_mistakes_end_in_one_line(data_dir, tmp_path):
  for arguments, message in [
    (("--pretraining=a", "--evaluation=c"), "no dataset 'c'"),
    (("--pretraining=a", "--evaluation=a"), "a has films in none of"),
    (("--pretraining=a", "--evaluation=a", "--evaluation_splits=train"),
     "a train is on both sides"),
    (("--pretraining=a", "--evaluation=b", "--exclusions=../x"),
     "exclusion list '../x' is not made of"),
  ]:  # fmt: skip
    done = _run(data_dir, tmp_path, *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"leakage: {message}")
