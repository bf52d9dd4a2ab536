"""The stored model scores films of a folder as the evaluation did."""

import csv

import numpy as np
import pytest
import small_evaluation
from PIL import Image

from scan42_jax.data.images import decode_film
from scan42_jax.data.sources import open_films
from scan42_jax.datasets.film_files import find_films
from scan42_jax.eval.adapted import load_model
from scan42_jax.eval.prediction import predict_files
from scan42_jax.eval.scored import read_predictions


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  folder = tmp_path_factory.mktemp("small")
  prepared = small_evaluation.prepare(folder)
  small_evaluation.run(folder / "run", prepared, protocol="logistic")
  return folder


def _unpack(finished, folder):
  """Writes the prepared test films as files; returns them in stored order."""
  source = open_films(finished / "data", "folder", "test")
  for i in range(len(source)):
    film = decode_film(source[i]["image"])
    Image.fromarray(film).save(folder / f"{i:02d}.png")
  return [f"{i:02d}.png" for i in range(len(source))]


def test_films_of_a_folder(finished, tmp_path):
  names = _unpack(finished, tmp_path)
  (tmp_path / "broken.dcm").write_bytes(b"not a film")
  model = load_model(finished / "run")
  output = tmp_path / "out.csv"
  files = list(find_films(tmp_path))
  assert predict_files(model, tmp_path, files, output) == (len(names), 1)
  with output.open() as stream:
    rows = {row["file"]: row for row in csv.DictReader(stream)}
  broken = rows.pop("broken.dcm")
  assert broken["refused"]
  assert broken["probability:Nodule"] == broken["call:Nodule"] == ""
  expected = read_predictions(finished / "run" / "predictions.csv")
  shares = [float(rows[name]["probability:Nodule"]) for name in names]
  np.testing.assert_allclose(shares, expected.probabilities[:, 0], atol=1e-5)
  called = expected.probabilities[:, 0] >= model.thresholds[0]
  calls = [row["call:Nodule"] for row in rows.values()]
  assert calls == [str(int(call)) for call in called]


def test_a_model_that_is_not_what_was_written_is_refused(finished, tmp_path):
  for name in ("model.json", "model.npz"):
    (tmp_path / name).write_bytes((finished / "run" / name).read_bytes())
  load_model(tmp_path)
  with (tmp_path / "model.npz").open("r+b") as stream:
    stream.seek(2000)
    stream.write(b"\0\1\2")
  with pytest.raises(ValueError, match="is not what was written"):
    load_model(tmp_path)
  with pytest.raises(FileNotFoundError, match="holds no model"):
    load_model(tmp_path / "nowhere")
