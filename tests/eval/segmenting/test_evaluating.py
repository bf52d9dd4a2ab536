"""The whole evaluation by segmentation, from prepared films to its pages."""

import csv
import json
import signal

import numpy as np
import pytest
import small_masks
from PIL import Image

from scan42_jax.eval.segmenting.segmenter import load_segmenter


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """An encoder and films with masks."""
  return small_masks.prepared(tmp_path_factory.mktemp("masks"))


def _figures(workdir):
  return json.loads((workdir / "metrics.json").read_text())["figures"]


@pytest.mark.parametrize(
  "fields",
  [
    {"head__kind": "linear"},
    {"head__kind": "decoder", "train__train_encoder": True},
  ],
  ids=["linear head", "decoder and encoder"],
)
def test_a_stopped_evaluation_comes_to_the_same(prepared, tmp_path, fields):
  fields |= {"report__random_encoder": False}
  small_masks.run(tmp_path / "whole", prepared, **fields)
  stopped = tmp_path / "stopped"
  signals = [signal.SIGTERM]
  assert small_masks.run(stopped, prepared, signals=signals, **fields) is None
  assert not (stopped / "metrics.json").exists()
  small_masks.run(stopped, prepared, **fields)
  assert _figures(stopped) == _figures(tmp_path / "whole")


def test_what_is_left_behind(prepared, tmp_path):
  small_masks.run(tmp_path, prepared, train__steps=3)
  names = {"this encoder", "random encoder", "mean training mask"}
  assert {figure["row"] for figure in _figures(tmp_path)} == names
  assert (tmp_path / "results.md").read_text().startswith("| dataset |")
  page = (tmp_path / "report.html").read_text()
  assert page.count("<img") >= 3 and 'src="http' not in page
  with (tmp_path / "predictions.csv").open(newline="") as stream:
    rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
  masks = sorted((tmp_path / "masks").glob("*.png"))
  assert len(masks) == len(rows) * len(small_masks.STRUCTURES)
  assert set(np.unique(np.asarray(Image.open(masks[0])))) <= {0, 255}
  film, _ = small_masks.draw(0)
  assert load_segmenter(tmp_path).segment(film).shape == film.shape
