"""Shards: order, sizes, and the same bytes whatever came before."""

import hashlib
import subprocess
import sys

import film_trees
import numpy as np
import pytest

from scan42_jax.data import pipeline
from scan42_jax.datasets import shards


@pytest.fixture
def source(tmp_path):
  """Forty films of noise, some 5 kB each."""
  rng = np.random.default_rng(0)
  for i in range(40):
    path = film_trees.write_film(tmp_path / "raw" / f"{i:02d}.png", seed=i)
    noise = rng.integers(0, 256, (64, 64)).astype(np.uint8)
    film_trees.Image.fromarray(noise).save(path)
  return tmp_path / "raw"


def _prepare(source, data_dir):
  film_trees.prepare(source, data_dir, keep_ids=True, holdout_percent=0.0)
  films = pipeline.open_films(data_dir, "folder", "train")
  paths = sorted(data_dir.glob("folder/*/*array_record*"))
  return [film["image_id"] for film in films], paths


def test_large_splits_have_several_shards(source, tmp_path, monkeypatch):
  whole, paths = _prepare(source, tmp_path / "one")
  assert len(paths) == 1
  monkeypatch.setattr(shards, "MAX_SHARD_BYTES", 50_000)
  parts, paths = _prepare(source, tmp_path / "several")
  count = len(paths)
  assert 3 < count < 12
  assert [path.name[-14:] for path in paths] == [
    f"{i:05d}-of-{count:05d}"[-14:] for i in range(count)
  ]
  assert all(path.stat().st_size < 200_000 for path in paths)
  assert parts == whole
  assert parts == sorted(
    parts, key=lambda i: hashlib.sha256(f"train/{i}".encode()).digest()
  )
  assert not list((tmp_path / "several").rglob("*.tmp"))


def test_films_are_fetched_one_by_one(source, tmp_path, monkeypatch):
  alive, most = [0], [0]

  class Counted(dict):
    def __init__(self, *items):
      super().__init__(*items)
      alive[0] += 1
      most[0] = max(most[0], alive[0])

    def __del__(self):
      alive[0] -= 1

  write = shards.write_split

  def count(films, **settings):
    def counted(fetch):
      return lambda: Counted(fetch())

    return write([(i, counted(fetch)) for i, fetch in films], **settings)

  monkeypatch.setattr(shards, "write_split", count)
  _prepare(source, tmp_path / "data")
  assert most[0] <= 2 and alive[0] == 0


def test_another_process_writes_the_same_bytes(source, tmp_path):
  _, (ours,) = _prepare(source, tmp_path / "ours")
  code = (
    "import film_trees, pathlib;"
    f"film_trees.prepare(pathlib.Path({str(source)!r}),"
    f" pathlib.Path({str(tmp_path / 'theirs')!r}), keep_ids=True,"
    " holdout_percent=0.0)"
  )
  environment = film_trees.environment()
  tests = str(film_trees.pathlib.Path(film_trees.__file__).parent)
  environment["PYTHONPATH"] += f":{tests}"
  subprocess.run([sys.executable, "-c", code], check=True, env=environment)
  (theirs,) = (tmp_path / "theirs").glob("folder/*/*array_record*")
  assert theirs.read_bytes() == ours.read_bytes()
