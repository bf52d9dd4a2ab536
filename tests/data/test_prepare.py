"""Preparation: resuming, quarantine, determinism, and the command itself."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time

import film_trees
import numpy as np
import pytest

from scan42_jax.data import images, records
from scan42_jax.data.pipeline import open_films

FOLDER = "data/folder/1.1.0"


@pytest.fixture
def source(tmp_path):
  """Twelve films, one of them cut, in a folder `raw`."""
  for i in range(12):
    film_trees.write_film(tmp_path / "raw" / f"{i:02d}.png", seed=i)
  path = tmp_path / "raw" / "05.png"
  path.write_bytes(path.read_bytes()[:60])
  return tmp_path / "raw"


def _shards(tmp_path):
  return {
    path.name: path.read_bytes()
    for path in sorted((tmp_path / FOLDER).glob("*array_record*"))
  }


def _quarantine(tmp_path):
  rows = film_trees.read_csv(tmp_path / FOLDER / "quarantine.csv")
  return {row["file"]: row["reason"] for row in rows}


def _files(source, tmp_path):
  """Maps the files of a prepared folder to their examples."""
  image_ids = {
    row["image_id"]: row["file"]
    for row in film_trees.read_csv(tmp_path / FOLDER / "films.csv")
  }
  examples = {}
  for split in ("train", "validation", "test"):
    try:
      films = open_films(tmp_path / "data", "folder", split)
    except ValueError:
      continue  # A small folder may leave a split empty.
    examples |= {image_ids[e["image_id"]]: e for e in films}
  return examples


def test_films_are_stored_once_and_grey(source, tmp_path):
  manifest, said = film_trees.prepare(
    source, tmp_path / "data", short_side_px=16
  )
  assert sum(manifest["films"].values()) == 11
  assert manifest["unknown_view"] == manifest["unknown_patient"] == 11
  assert "damaged" in _quarantine(tmp_path)["05.png"]
  examples = _files(source, tmp_path)
  assert len(examples) == 11
  for file, example in examples.items():
    stored = images.decode_film(example["image"])
    assert stored.shape == (20, 16)
    raw = images.shrink(
      film_trees.film(int(file.removesuffix(".png"))), short_side_px=16
    )
    assert np.abs(stored.astype(int) - raw).max() <= 3
  assert "1 quarantined" in said[-1]
  assert not (tmp_path / "data/folder/partial").exists()


def test_shards_do_not_depend_on_workers(source, tmp_path):
  film_trees.prepare(source, tmp_path / "data", num_workers=2)
  first = _shards(tmp_path)
  shutil.rmtree(tmp_path / "data")
  film_trees.prepare(source, tmp_path / "data", num_workers=0)
  assert _shards(tmp_path) == first and first


def test_second_run_changes_nothing_and_says_so(source, tmp_path):
  film_trees.prepare(source, tmp_path / "data")
  before = {p: p.stat().st_mtime_ns for p in (tmp_path / FOLDER).iterdir()}
  manifest, said = film_trees.prepare(source, tmp_path / "data")
  assert "nothing changed" in said[-1]
  assert sum(manifest["films"].values()) == 11
  after = {p: p.stat().st_mtime_ns for p in (tmp_path / FOLDER).iterdir()}
  assert after == before


def test_only_new_and_repaired_films_are_read(source, tmp_path, monkeypatch):
  film_trees.prepare(source, tmp_path / "data")
  before = _files(source, tmp_path)
  film_trees.write_film(source / "05.png", seed=5)
  film_trees.write_film(source / "12.png", seed=12)
  opened = []

  def read_film(path, **options):
    opened.append(path.name)
    return read(path, **options)

  read = images.read_film
  monkeypatch.setattr(images, "read_film", read_film)
  manifest, _ = film_trees.prepare(source, tmp_path / "data")
  assert sorted(opened) == ["05.png", "12.png"]
  assert sum(manifest["films"].values()) == 13 and not _quarantine(tmp_path)
  after = _files(source, tmp_path)
  for file, example in before.items():
    assert after[file]["image"] == example["image"]
  fresh = tmp_path / "fresh"
  film_trees.prepare(source, fresh / "data")
  assert _shards(fresh) == _shards(tmp_path)


def test_removed_films_leave_the_shards(source, tmp_path):
  film_trees.prepare(source, tmp_path / "data")
  (source / "03.png").unlink()
  manifest, _ = film_trees.prepare(source, tmp_path / "data")
  assert sum(manifest["films"].values()) == 10
  assert "03.png" not in _files(source, tmp_path)


def test_new_labels_need_no_reading(source, tmp_path, monkeypatch):
  rows = [{"file": f"{i:02d}.png", "edema": i % 2} for i in range(5)]
  table = film_trees.write_table(tmp_path / "labels.csv", rows)
  film_trees.prepare(source, tmp_path / "data", labels_csv=table)
  rows = [{**row, "mass": 1, "split": "train"} for row in rows]
  film_trees.write_table(table, rows)
  monkeypatch.delattr(images, "read_film")
  manifest, _ = film_trees.prepare(source, tmp_path / "data", labels_csv=table)
  assert manifest["label_names"] == ["edema", "mass"]
  films = open_films(tmp_path / "data", "folder", "train")
  assert sorted(e["labels"].tolist() for e in films) == sorted(
    [i % 2, 1] for i in range(5)
  )


def test_damaged_shard_is_made_again(source, tmp_path):
  film_trees.prepare(source, tmp_path / "data", holdout_percent=0.0)
  good = _shards(tmp_path)
  (name,) = good
  path = tmp_path / FOLDER / name
  path.write_bytes(good[name][:-1000])
  with pytest.raises(ValueError, match=rf"{name} has .*prepare"):
    open_films(tmp_path / "data", "folder", "train")
  _, said = film_trees.prepare(source, tmp_path / "data", holdout_percent=0.0)
  assert name in said[0] and _shards(tmp_path) == good
  path.unlink()
  film_trees.prepare(source, tmp_path / "data", holdout_percent=0.0)
  assert _shards(tmp_path) == good


def test_half_a_swap_is_undone(source, tmp_path):
  film_trees.prepare(source, tmp_path / "data")
  partial = tmp_path / "data/folder/partial"
  partial.mkdir()
  (tmp_path / FOLDER).rename(partial / "old")
  (partial / "build" / "folder" / "incomplete.ABC_1.1.0").mkdir(parents=True)
  _, said = film_trees.prepare(source, tmp_path / "data")
  assert "nothing changed" in said[-1] and not partial.exists()


def test_published_films_are_another_dataset(source, tmp_path):
  film_trees.prepare(source, tmp_path / "data", holdout_percent=0.0)
  film_trees.prepare(
    source, tmp_path / "data", published=True, holdout_percent=0.0
  )
  plain = open_films(tmp_path / "data", "folder", "train")
  published = open_films(tmp_path / "data", "folder_published", "train")
  assert published.equalized and not plain.equalized
  ids = {example["image_id"]: example for example in plain}
  for example in published:
    assert example["image_id"] in ids
    pixels = images.decode_film(example["image"])
    assert pixels.min() < 10 and pixels.max() > 245


def test_folders_of_other_names_do_not_meet(source, tmp_path):
  film_trees.prepare(source, tmp_path / "data", name="ward")
  other = tmp_path / "other"
  film_trees.write_film(other / "a.png", seed=0)
  with pytest.raises(ValueError, match=r"made from other files; .*--name"):
    film_trees.prepare(other, tmp_path / "data", name="ward")
  film_trees.prepare(other, tmp_path / "data", name="clinic")
  sizes = [
    sum(json.loads(path.read_text())["films"].values())
    for path in sorted((tmp_path / "data").glob("*/1.1.0/manifest.json"))
  ]
  assert sizes == [1, 11]
  with pytest.raises(ValueError, match="is not made of small letters"):
    film_trees.prepare(other, tmp_path / "data", name="../x")


def test_off_frontal_films_are_not_even_opened(source, tmp_path):
  rows = [{"file": "00.png", "view": "PA"}, {"file": "05.png", "view": "L"}]
  table = film_trees.write_table(tmp_path / "labels.csv", rows)
  manifest, _ = film_trees.prepare(source, tmp_path / "data", labels_csv=table)
  assert manifest["skipped"] == {"lateral view": 1}
  assert manifest["quarantined"] == 0


def test_row_without_a_file_is_quarantined(source, tmp_path):
  rows = [{"file": "00.png"}, {"file": "gone.png"}]
  table = film_trees.write_table(tmp_path / "labels.csv", rows)
  film_trees.prepare(source, tmp_path / "data", labels_csv=table)
  reason = _quarantine(tmp_path)["gone.png"]
  assert "labels.csv row 3" in reason and "No such file" in reason


def test_two_preparations_do_not_meet(source, tmp_path):
  (tmp_path / "data/folder").mkdir(parents=True)
  with (tmp_path / "data/folder/.lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(OSError, match="another process"):
      film_trees.prepare(source, tmp_path / "data")


def _wait_for(condition, seconds=60):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, "waited in vain"
    time.sleep(0.02)


def _is_killed_after_a_chunk(tmp_path, arguments, kill):
  """Starts a run and kills it as soon as it has kept something new."""
  journal = tmp_path / "data/folder/partial/journal"
  before = set(journal.glob("*.chunk"))
  process = subprocess.Popen(
    film_trees.prepare_command(*arguments),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    env=film_trees.environment(),
    # Shells start background jobs, and all that they start, deaf to Ctrl-C.
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
  )
  _wait_for(lambda: set(journal.glob("*.chunk")) > before)
  team = film_trees.descendants(process.pid)
  process.send_signal(kill)
  _, complaints = process.communicate(timeout=60)
  assert "Traceback" not in complaints
  _wait_for(lambda: not any(film_trees.is_running(pid) for pid in team))
  return process.returncode


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc")
def test_killed_run_goes_on_where_it_was(tmp_path):
  count = 600
  film = film_trees.write_film(
    tmp_path / "raw/000.png", seed=0, height=700, width=600
  )
  for i in range(1, count):
    shutil.copy(film, tmp_path / "raw" / f"{i:03d}.png")
  arguments = (
    "--dataset=folder",
    f"--source={tmp_path / 'raw'}",
    f"--data_dir={tmp_path / 'data'}",
    "--workers=2",
  )
  killed = _is_killed_after_a_chunk(tmp_path, arguments, signal.SIGINT)
  assert killed == 130
  killed = _is_killed_after_a_chunk(tmp_path, arguments, signal.SIGKILL)
  assert killed == -signal.SIGKILL
  journal = records.Journal(tmp_path / "data/folder/partial/journal")
  kept = len(list(journal.readings()))
  again = film_trees.run_prepare(*arguments)
  assert again.returncode == 0, again.stderr
  read = [line for line in again.stdout.splitlines() if "films read" in line]
  assert int(read[-1].split("/")[1].split()[0]) == count - kept < count
  assert len(_files(tmp_path / "raw", tmp_path)) == count


@pytest.mark.parametrize(
  ("dataset", "place", "options", "message"),
  [
    ("nih", "raw", {}, "unknown dataset 'nih'; known are brax, "),
    ("folder", "raw/no", {}, "no is no folder; give --source=DIR"),
    ("folder", "raw/empty", {}, "holds no DICOM, PNG or JPEG file"),
    ("folder", "raw/bad", {}, "1 were tried; the first, bad.png: damaged"),
    ("chexpert", "raw", {}, r"train\.csv or .* is not in"),
    ("folder", "raw", {"labels_csv": "raw/t.csv"}, "t.csv has no column file"),
    ("folder", "raw", {"labels_csv": "raw/u.csv"}, "u.csv does not exist"),
  ],
)
def test_mistakes(cut_films, tmp_path, dataset, place, options, message):
  options = {name: tmp_path / path for name, path in options.items()}
  with pytest.raises((ValueError, OSError), match=message) as caught:
    film_trees.prepare(
      tmp_path / place, tmp_path / "data", dataset=dataset, **options
    )
  assert "\n" not in str(caught.value)


@pytest.fixture
def cut_films(source):
  """Folders without a film to use, and a table without files."""
  (source / "empty").mkdir()
  (source / "bad").mkdir()
  shutil.copy(source / "05.png", source / "bad" / "bad.png")
  (source / "t.csv").write_text("image,label\na.png,1\n")


def test_command_ends_in_one_line(tmp_path):
  done = film_trees.run_prepare(
    "--dataset=folder", f"--data_dir={tmp_path / 'data'}"
  )
  assert done.returncode == 1 and not done.stdout
  (line,) = done.stderr.splitlines()
  assert line.startswith("prepare: ") and "give --source=DIR" in line


def test_real_dicom_files_end_as_their_manifest_says(real_data_dir, tmp_path):
  folder = real_data_dir / "dicom"
  table = film_trees.read_csv(folder / "manifest.csv")
  film_trees.prepare(folder, tmp_path / "data", exclude=("reference/*",))
  examples = _files(folder, tmp_path)
  quarantined = _quarantine(tmp_path)
  for row in table:
    assert (row["file"] in examples) == (row["expected"] == "image")
    assert (row["file"] in quarantined) == (row["expected"] == "error")
    if row["expected"] == "image":
      stored = images.decode_film(examples[row["file"]]["image"])
      reference = images.read_film(folder / row["reference"]).pixels
      # References are smaller than some films.
      stored, reference = (
        images.shrink(pixels, short_side_px=256).astype(float)
        for pixels in (stored, reference)
      )
      assert stored.shape == reference.shape
      assert np.corrcoef(stored.ravel(), reference.ravel())[0, 1] > 0.9
