"""Batches from shards: order, shares, canvases, and faults of shards."""

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import film_trees
import numpy as np
import pytest

from scan42_jax.data import images, pipeline, sources

SIZES = ((40, 32), (70, 50), (30, 64), (64, 64), (90, 20))
SETTINGS = {"canvas_px": 64, "batch_size": 4, "seed": 3, "equalize": False}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """Eleven films as two datasets: `folder` and, equalised, its twin."""
  root = tmp_path_factory.mktemp("pipeline")
  for i in range(11):
    height, width = SIZES[i % len(SIZES)]
    film_trees.write_film(
      root / "raw" / f"{i:02d}.png", seed=i, height=height, width=width
    )
  rows = [
    {"file": f"{i:02d}.png", "patient_id": f"p{i}", "split": split, "edema": 1}
    for i, split in enumerate(["train"] * 7 + ["test"] * 4)
  ]
  table = film_trees.write_table(root / "labels.csv", rows)
  for published in (False, True):
    film_trees.prepare(
      root / "raw",
      root / "data",
      labels_csv=table,
      keep_ids=True,
      published=published,
    )
  return root / "data"


@pytest.fixture(scope="module")
def films(data_dir):
  """Both splits as two sources of seven and four films."""
  return [
    pipeline.open_films(data_dir, "folder", split)
    for split in ("train", "test")
  ]


def _take(iterator, count):
  taken = [next(iterator) for _ in range(count)]
  iterator.close()
  return taken


def _assert_equal(first, second):
  for name in ("pixels", "height", "width", "index"):
    np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_examples(films):
  train, test = films
  assert (len(train), len(test)) == (7, 4)
  assert train.label_names == ("edema",) and not train.equalized
  example = {e["image_id"]: e for e in train}["00.png"]
  assert example["patient_id"] == "p0" and example["view"] == ""
  assert np.isnan(example["age_years"]) and example["labels"].tolist() == [1]
  with pytest.raises(IndexError):
    train[7]


def test_film_lies_in_the_corner_of_its_canvas(films):
  (batch,) = _take(pipeline.training_films(films, **SETTINGS), 1)
  assert batch.pixels.shape == (4, 64, 64) and batch.pixels.dtype == np.uint8
  mixture = pipeline.Mixture([7, 4], seed=3)
  for row in range(4):
    source, position = mixture.place(row)
    film = images.decode_film(films[source][position]["image"])
    if max(film.shape) > 64:
      scale = 64 / max(film.shape)
      film = images.shrink(film, short_side_px=int(min(film.shape) * scale))
    height, width = batch.height[row], batch.width[row]
    assert (height, width) == film.shape and max(height, width) <= 64
    np.testing.assert_array_equal(batch.pixels[row, :height, :width], film)
    assert not batch.pixels[row, height:].any()
    assert not batch.pixels[row, :, width:].any()


@pytest.mark.parametrize("size", [(90, 20), (1000, 999), (7, 300), (65, 65)])
def test_larger_films_fit_the_canvas(size):
  fitted = pipeline._fit(np.zeros(size, np.uint8), 64)
  assert max(fitted.shape) <= 64
  assert min(fitted.shape) == min(size) * 64 // max(size)


def test_index_is_the_place_in_the_stream(films):
  first, second = _take(
    pipeline.training_films(films, **SETTINGS, start_step=9), 2
  )
  assert first.index.tolist() == [36, 37, 38, 39]
  assert second.index.tolist() == [40, 41, 42, 43]
  assert first.index.dtype == np.int32


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_resumed_stream_is_the_same_stream(films, num_threads):
  whole = _take(pipeline.training_films(films, **SETTINGS), 7)
  rest = _take(
    pipeline.training_films(
      films, **SETTINGS, start_step=4, num_threads=num_threads
    ),
    3,
  )
  for first, second in zip(whole[4:], rest, strict=True):
    _assert_equal(first, second)


@pytest.mark.parametrize("rows", [(0, 1), (2, 3), (1,), (0, 3)])
def test_a_share_holds_the_rows_it_was_asked_for(films, rows):
  whole = _take(pipeline.training_films(films, **SETTINGS), 2)
  share = _take(pipeline.training_films(films, **SETTINGS, rows=rows), 2)
  for step in range(2):
    for name in ("pixels", "height", "width", "index"):
      np.testing.assert_array_equal(
        getattr(share[step], name), getattr(whole[step], name)[list(rows)]
      )


def test_films_are_equalised_whole(films):
  plain = _take(
    pipeline.training_films(films, **SETTINGS | {"canvas_px": 99}), 1
  )
  equalised = _take(
    pipeline.training_films(
      films, **SETTINGS | {"canvas_px": 99, "equalize": True}
    ),
    1,
  )
  for row in range(4):
    area = np.s_[row, : plain[0].height[row], : plain[0].width[row]]
    np.testing.assert_array_equal(
      equalised[0].pixels[area],
      images.equalize_histogram(plain[0].pixels[area]),
    )


def test_stored_equalisation_is_neither_repeated_nor_ignored(data_dir):
  source = pipeline.open_films(data_dir, "folder_published", "test")
  assert source.equalized
  ((batch, examples),) = pipeline.evaluation_films(
    source, canvas_px=99, equalize=True, batch_size=4
  )
  for row, example in enumerate(examples):
    film = images.decode_film(example["image"])
    np.testing.assert_array_equal(
      batch.pixels[row, : film.shape[0], : film.shape[1]], film
    )
  with pytest.raises(ValueError, match="folder_published is stored equalised"):
    pipeline.training_films([source], **SETTINGS)
  with pytest.raises(ValueError, match="stored equalised"):
    next(
      pipeline.evaluation_films(
        source, canvas_px=99, equalize=False, batch_size=4
      )
    )


def test_evaluation_sees_each_film_once(films):
  batches = list(
    pipeline.evaluation_films(
      films[0], canvas_px=64, equalize=False, batch_size=4
    )
  )
  assert [len(examples) for _, examples in batches] == [4, 3]
  assert all(batch.pixels.shape == (4, 64, 64) for batch, _ in batches)
  seen = [e["image_id"] for _, examples in batches for e in examples]
  assert seen == [example["image_id"] for example in films[0]]
  last, _ = batches[1]
  assert last.index.tolist() == [4, 5, 6, -1]
  np.testing.assert_array_equal(last.pixels[3], last.pixels[2])


def test_unusable_settings_stop(films):
  with pytest.raises(ValueError, match="no dataset"):
    pipeline.training_films([], **SETTINGS)


def test_source_is_pickled_as_its_address(films):
  copy = pickle.loads(pickle.dumps(films[0]))
  assert len(pickle.dumps(films[0])) < 1000
  assert [e["image_id"] for e in copy] == [e["image_id"] for e in films[0]]


@pytest.fixture
def copied(data_dir, tmp_path):
  """A copy of the dataset, to be damaged; returns (data_dir, its shard)."""
  subprocess.run(["cp", "-r", data_dir / "folder", tmp_path], check=True)
  (shard,) = (tmp_path / "folder/1.1.0").glob("*train.array_record*")
  return tmp_path, shard


def test_absent_data_names_the_command(copied):
  folder, shard = copied
  command = r"python -m scan42_jax\.data\.prepare --dataset=folder --name=nih "
  with pytest.raises(FileNotFoundError, match=command):
    pipeline.open_films(folder, "nih", "train")
  with pytest.raises(FileNotFoundError, match="--name=nih --published"):
    pipeline.open_films(folder, "nih_published", "train")
  with pytest.raises(ValueError, match="no split 'valid'; it has train, test"):
    pipeline.open_films(folder, "folder", "valid")
  shard.unlink()
  with pytest.raises(FileNotFoundError, match=f"{shard.name} is missing; run"):
    pipeline.open_films(folder, "folder", "train")
  assert len(pipeline.open_films(folder, "folder", "test")) == 4


def test_truncated_shard_is_named(copied):
  folder, shard = copied
  shard.write_bytes(shard.read_bytes()[:-10])
  with pytest.raises(ValueError, match=f"{shard.name} has .*; run .*prepare"):
    pipeline.open_films(folder, "folder", "train")


def test_damaged_shard_is_named(copied):
  folder, shard = copied
  content = bytearray(shard.read_bytes())
  content[65536 : 65536 + 4096] = bytes(4096)  # The records follow the header.
  content[100:2000] = bytes(1900)
  shard.write_bytes(content)
  with pytest.raises(ValueError, match=f"{shard.name} is damaged .*prepare"):
    _take(
      pipeline.training_films(
        [pipeline.open_films(folder, "folder", "train")], **SETTINGS
      ),
      3,
    )


def test_newest_version_is_opened(copied):
  folder, _ = copied
  newer = folder / "folder" / "1.10.0"
  subprocess.run(["cp", "-r", folder / "folder/1.1.0", newer], check=True)
  (folder / "folder/1.9.0").mkdir()
  (folder / "folder/1.9.0/manifest.json").write_text("{}")
  assert sources.dataset_folder(folder, "folder") == newer


_WORKERS = """
import json, sys
from absl import flags
from scan42_jax.data import pipeline

def main(data_dir, wait):
  splits = "train", "test"
  films = [pipeline.open_films(data_dir, "folder", split) for split in splits]
  batches = pipeline.training_films(
    films, canvas_px=64, batch_size=4, seed=3, equalize=False, start_step=2,
    num_workers=2)
  sums = [int(next(batches).pixels.sum()) for _ in range(3)]
  print(json.dumps(sums), flush=True)
  if wait:
    sys.stdin.read()
  batches.close()

if __name__ == "__main__":
  flags.FLAGS.mark_as_parsed()
  main(sys.argv[1], len(sys.argv) > 2)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc")
def test_workers_make_the_same_batches_and_end_with_their_parent(
  films, data_dir, tmp_path
):
  expected = _take(pipeline.training_films(films, **SETTINGS, start_step=2), 3)
  script = tmp_path / "script.py"
  script.write_text(textwrap.dedent(_WORKERS))
  process = subprocess.Popen(
    [sys.executable, script, data_dir, "wait"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    env=film_trees.environment(),
  )
  sums = json.loads(process.stdout.readline())
  assert sums == [int(batch.pixels.sum()) for batch in expected]
  team = film_trees.descendants(process.pid)
  assert len(team) >= 2
  process.send_signal(signal.SIGKILL)
  process.communicate()
  end = time.monotonic() + 30
  while any(film_trees.is_running(pid) for pid in team):
    assert time.monotonic() < end, "workers outlive their parent"
    time.sleep(0.05)
