"""Two runs side by side, on the same resamples."""

import dataclasses

import numpy as np
import pytest
from known_films import known_films
from sklearn.metrics import roc_auc_score

from scan42_jax.eval.comparison import compare
from scan42_jax.eval.results.writing import Results, write_results
from scan42_jax.eval.scored import Scored, write_predictions

_REPORT = {"paper_labels": [], "resample": "patient"}


def _films():
  rng = np.random.default_rng(0)
  return known_films(rng.random((300, 2)) < 0.4)


def _write(folder, films, *, signal, task="classification"):
  folder.mkdir()
  rng = np.random.default_rng(7)
  logits = rng.normal(size=films.labels.shape) + signal * films.labels
  scored = Scored.from_logits(films, logits, exclusive=False)
  write_predictions(folder / "predictions.csv", [("test", scored)])
  _finish(folder, task)
  return scored


def _finish(folder, task):
  made = {
    "command": "python <x>",
    "encoder": f"an encoder of {folder.name}",
    "config": {"report": _REPORT},
  }
  results = Results(
    title="run",
    row={"dataset": "x"},
    metrics={"task": task},
    provenance=made,
    tables=[],
    figures=[],
  )
  write_results(folder, results)


def test_the_better_run_is_better_by_more_than_its_interval(tmp_path):
  films = _films()
  one = _write(tmp_path / "a", films, signal=0.3)
  two = _write(tmp_path / "b", films, signal=1.5)
  found = compare(tmp_path / "a", tmp_path / "b", tmp_path / "out", draws=200)
  first = found[0]
  areas = [
    roc_auc_score(films.labels[:, 0], scored.scores[:, 0])
    for scored in (one, two)
  ]
  assert (first.metric, first.name) == ("AUROC", "finding 0")
  assert (first.first, first.second) == pytest.approx(areas, abs=1e-12)
  assert first.gain.value == pytest.approx(areas[1] - areas[0])
  assert 0 < first.gain.low < first.gain.value < first.gain.high
  page = (tmp_path / "out" / "comparison.html").read_text()
  assert "python &lt;x&gt;" in page
  assert "an encoder of b" in (tmp_path / "out" / "comparison.md").read_text()


def test_a_run_does_not_differ_from_itself(tmp_path):
  films = _films()
  _write(tmp_path / "a", films, signal=1.0)
  _write(tmp_path / "b", films.take(np.arange(299, -1, -1)), signal=1.0)
  for difference in compare(
    tmp_path / "a", tmp_path / "a", tmp_path, draws=100
  ):
    gain = difference.gain
    assert gain.value == gain.low == gain.high == 0
  # The order of the films does not matter.
  compare(tmp_path / "a", tmp_path / "b", tmp_path, draws=100)


def test_runs_that_cannot_be_compared(tmp_path):
  films = _films()
  _write(tmp_path / "a", films, signal=1.0)
  _write(tmp_path / "fewer", films.take(np.arange(50)), signal=1.0)
  flipped = dataclasses.replace(films, labels=1 - films.labels)
  _write(tmp_path / "flipped", flipped, signal=1.0)
  renamed = dataclasses.replace(films, label_names=["x", "y"])
  _write(tmp_path / "renamed", renamed, signal=1.0)
  _write(tmp_path / "masks", films, signal=1.0, task="segmentation")
  for name, message in [
    ("fewer", "not about the same test films"),
    ("flipped", "label policies differ"),
    ("renamed", "not about the same labels"),
    ("masks", "is a classification, .* a segmentation"),
  ]:
    with pytest.raises(ValueError, match=message):
      compare(tmp_path / "a", tmp_path / name, tmp_path)
  with pytest.raises(FileNotFoundError, match="no folder of a finished"):
    compare(tmp_path / "a", tmp_path / "nowhere", tmp_path)


def test_values_by_film_are_compared_by_their_means(tmp_path):
  for name, shift in (("a", 0.0), ("b", 0.1)):
    folder = tmp_path / name
    folder.mkdir()
    rows = [f"f{i},p{i // 2},{0.5 + shift + 0.001 * i}," for i in range(40)]
    (folder / "predictions.csv").write_text(
      "\n".join(["image_id,patient_id,value:dice,value:other", *rows])
    )
    _finish(folder, "segmentation")
  found = compare(tmp_path / "a", tmp_path / "b", tmp_path, draws=100)
  assert found[0].name == "dice"
  assert found[0].gain.value == pytest.approx(0.1)
  assert found[0].gain.low == pytest.approx(0.1)
  assert np.isnan(found[1].gain.value)
