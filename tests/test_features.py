"""The features binary as users run, kill, resume and misuse it."""

import csv
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import film_trees
import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_encoder
from array_record.python import array_record_data_source

from scan42_jax import load_encoder
from scan42_jax.data.images import read_film
from scan42_jax.extraction import extract as extraction
from scan42_jax.extraction.extract import Extraction, extract
from scan42_jax.extraction.films import find_source
from scan42_jax.extraction.outputs import output_for
from scan42_jax.weights.digest import weights_sha256

TOLERANCE = {"rtol": 2e-4, "atol": 2e-4}


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
  return tiny_encoder.write_encoder(tmp_path_factory.mktemp("e") / "encoder")


@pytest.fixture(scope="module")
def encoder(encoder_folder):
  return load_encoder(encoder_folder)


@pytest.fixture
def source(tmp_path):
  """Eleven films of several sizes, and a broken one in their middle."""
  for i in range(11):
    film_trees.write_film(
      tmp_path / "raw" / f"{i:02d}.png", seed=i, height=40 + i % 3
    )
  (tmp_path / "raw" / "05_broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
  return tmp_path / "raw"


def _extract(encoder, source, path, *, batch_size=4, **options):
  said = []
  work = Extraction(
    encoder=encoder,
    films=find_source(source, **options),
    output=output_for(path),
    path=path,
    batch_size=batch_size,
  )
  extract(work, say=said.append)
  return said


def _direct(encoder, source, ids):
  return encoder([read_film(source / name).pixels for name in ids])


def _column(table, name):
  flat = table[name].combine_chunks().flatten().to_numpy()
  return flat.reshape(len(table), -1)


def _quarantine(path):
  with pathlib.Path(f"{path}.quarantine.csv").open(newline="") as stream:
    return list(csv.DictReader(stream))


def test_parquet_of_a_folder(encoder, source, tmp_path):
  path = tmp_path / "f.parquet"
  said = _extract(encoder, source, path)
  table = pq.read_table(path)
  ids = table["image_id"].to_pylist()
  assert ids == sorted(p.name for p in source.glob("[0-9][0-9].png"))
  features = _direct(encoder, source, ids)
  np.testing.assert_allclose(_column(table, "cls"), features.cls, **TOLERANCE)
  np.testing.assert_allclose(
    _column(table, "patch_mean"), features.patches.mean((1, 2)), **TOLERANCE
  )
  (broken,) = _quarantine(path)
  assert broken["file"] == "05_broken.png" and "damaged" in broken["reason"]
  assert "11 films" in said[-1] and "1 refused" in said[-1]
  assert not path.with_name("f.parquet.partial").exists()


def test_the_file_says_what_it_was_made_with(encoder, source, tmp_path):
  path = tmp_path / "f.parquet"
  _extract(encoder, source, path)
  known = json.loads(pq.read_schema(path).metadata[b"scan42"])
  assert known["encoder"]["weights_sha256"] == weights_sha256(encoder.params)
  assert known["encoder"]["width"] == tiny_encoder.WIDTH
  assert known["preprocessing"]["crop_px"] == tiny_encoder.SIDE_PX
  assert known["encoder_source"] == encoder.source


def test_array_record_of_a_prepared_dataset(encoder, source, tmp_path):
  film_trees.prepare(source, tmp_path / "data")
  path = tmp_path / "f.array_record"
  _extract(encoder, tmp_path / "data" / "folder", path)
  records = array_record_data_source.ArrayRecordDataSource([str(path)])
  films = find_source(tmp_path / "data" / "folder")
  assert len(records) == len(films) == 11
  for i in (0, 10):
    film = films.read(i)
    features = encoder(film.pixels)
    with np.load(io.BytesIO(records[i])) as record:
      assert str(record["image_id"]) == film.image_id
      assert str(record["split"]) == film.split
      for name, values in vars(features).items():
        np.testing.assert_allclose(record[name], values[0], **TOLERANCE)


def test_films_are_spread_over_the_devices(encoder, source, tmp_path):
  """The same numbers, whatever the batch, on the eight devices of the tests."""
  assert jax.local_device_count() == 8
  tables = []
  for batch_size in (1, 8, 64):
    path = tmp_path / f"{batch_size}.parquet"
    _extract(encoder, source, path, batch_size=batch_size)
    tables.append(_column(pq.read_table(path), "cls"))
  np.testing.assert_allclose(tables[0], tables[1], **TOLERANCE)
  np.testing.assert_allclose(tables[0], tables[2], **TOLERANCE)


def test_a_stopped_run_goes_on_to_the_same_bytes(
  encoder, source, tmp_path, monkeypatch
):
  whole, stopped = tmp_path / "whole.parquet", tmp_path / "stopped.parquet"
  _extract(encoder, source, whole)
  films = find_source(source)
  opened = []

  def read(self, index):
    opened.append(index)
    if len(opened) == 10:
      raise KeyboardInterrupt
    return original(self, index)

  original = type(films).read
  monkeypatch.setattr(type(films), "read", read)
  monkeypatch.setattr(extraction.os, "cpu_count", lambda: 1)
  with pytest.raises(KeyboardInterrupt):
    _extract(encoder, source, stopped)
  assert not stopped.exists()
  said = _extract(encoder, source, stopped)
  assert "8/12 films are done already" in said
  assert sorted(set(opened[10:])) == [8, 9, 10, 11]
  assert stopped.read_bytes() == whole.read_bytes()
  assert _quarantine(stopped) == _quarantine(whole)


def test_a_finished_file_is_left_alone(encoder, source, tmp_path):
  path = tmp_path / "f.parquet"
  _extract(encoder, source, path)
  before = path.read_bytes()
  assert "nothing to do" in _extract(encoder, source, path)[-1]
  film_trees.write_film(source / "05_broken.png", seed=30)
  with pytest.raises(ValueError, match=r"is there already, .* another films"):
    _extract(encoder, source, path)
  larger = encoder.with_preprocessing(resize_px=32)
  with pytest.raises(ValueError, match="made with another preprocessing"):
    _extract(larger, source, path)
  assert path.read_bytes() == before
  foreign = tmp_path / "foreign.parquet"
  foreign.write_bytes(b"my thesis")
  with pytest.raises(ValueError, match="is there already"):
    _extract(encoder, source, foreign)
  assert foreign.read_bytes() == b"my thesis"


def test_stored_equalisation_is_not_repeated(encoder, source, tmp_path):
  film_trees.prepare(source, tmp_path / "data", published=True)
  published = tmp_path / "data" / "folder_published"
  with pytest.raises(ValueError, match="without equalisation; prepare"):
    _extract(encoder, published, tmp_path / "f.parquet")
  equalizing = encoder.with_preprocessing(equalize=True)
  _extract(equalizing, published, tmp_path / "f.parquet")
  table = pq.read_table(tmp_path / "f.parquet")
  film = find_source(published).read(0)
  np.testing.assert_allclose(
    _column(table, "cls")[:1], encoder(film.pixels).cls, **TOLERANCE
  )


def test_nothing_but_broken_films(encoder, tmp_path):
  (tmp_path / "raw").mkdir()
  (tmp_path / "raw" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
  path = tmp_path / "f.parquet"
  with pytest.raises(ValueError, match=r"none of 1 films .*quarantine\.csv"):
    _extract(encoder, tmp_path / "raw", path)
  assert not path.exists() and _quarantine(path)[0]["file"] == "a.png"


# As the binary, but with parts so short that a kill finds some of them.
_SHORT_PARTS = """
import sys
from absl import app
from scan42_jax import features
from scan42_jax.extraction import parts
parts._PART_SECONDS = 0.0
app.run(features.main)
"""


def _command(encoder, source, path, *start):
  return [
    sys.executable,
    *(start or ("-m", "scan42_jax.features")),
    f"--encoder={encoder}",
    f"--source={source}",
    f"--output={path}",
    "--batch_size=1",
  ]


def _run(*arguments):
  return subprocess.run(
    _command(*arguments),
    capture_output=True,
    text=True,
    timeout=300,
    env=film_trees.environment() | {"XLA_FLAGS": ""},
  )


def _is_killed_after_a_part(number, *arguments):
  """Starts a run and sends a signal when something new is on disk."""
  partial = pathlib.Path(f"{arguments[2]}.partial")
  before = set(partial.glob("*.npz"))
  process = subprocess.Popen(
    _command(*arguments, "-c", _SHORT_PARTS),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=film_trees.environment() | {"XLA_FLAGS": ""},
  )
  while not set(partial.glob("*.npz")) > before:
    assert process.poll() is None, process.communicate()
    time.sleep(0.002)
  process.send_signal(number)
  _, complaints = process.communicate(timeout=60)
  assert "Traceback" not in complaints
  return process.returncode


def test_a_killed_run_goes_on_to_the_same_bytes(encoder_folder, tmp_path):
  for i in range(150):
    film_trees.write_film(tmp_path / "raw" / f"{i:03d}.png", seed=i)
  (tmp_path / "raw" / "010.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
  whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
  start = (encoder_folder, tmp_path / "raw", killed)
  assert _is_killed_after_a_part(signal.SIGKILL, *start) == -signal.SIGKILL
  assert _is_killed_after_a_part(signal.SIGTERM, *start) == 130
  assert not killed.exists()
  other = tiny_encoder.write_encoder(tmp_path / "other", seed=1)
  refused = _run(other, *start[1:])
  (line,) = refused.stderr.splitlines()
  assert refused.returncode == 1
  assert line.startswith("error: ") and "begun with another encoder" in line
  again = _run(*start)
  assert again.returncode == 0, again.stderr
  assert "films are done already" in again.stdout
  assert _run(encoder_folder, tmp_path / "raw", whole).returncode == 0
  assert killed.read_bytes() == whole.read_bytes()
  assert len(pq.read_table(killed)) == 149
  assert [row["file"] for row in _quarantine(killed)] == ["010.png"]
  assert not os.path.exists(f"{killed}.partial")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"source": "absent"}, "absent: no such folder"),
    ({"output": "f.csv"}, "neither .parquet"),
    ({"output": "a_file/f.parquet"}, "a_file/f.parquet: File exists"),
    ({"encoder": "absent"}, "absent"),
  ],
)
def test_mistakes_end_in_one_line(
  encoder_folder, source, tmp_path, changes, message
):
  (tmp_path / "a_file").write_text("")
  arguments = {"encoder": encoder_folder, "source": source}
  arguments["output"] = tmp_path / "f.parquet"
  arguments |= {name: tmp_path / place for name, place in changes.items()}
  done = _run(arguments["encoder"], arguments["source"], arguments["output"])
  (line,) = done.stderr.splitlines()
  assert done.returncode == 1
  assert line.startswith("error: ") and message in line
