"""Whole evaluations of report generation, and what they leave behind."""

import csv
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest
import small_reports
from runs import ROOT, environment
from tiny_encoder import write_encoder

from scan42_jax.data.sources import open_films
from scan42_jax.encoder import load_encoder
from scan42_jax.eval.reports import building, pairs, settings, training
from scan42_jax.eval.reports.decoding import DecodingSettings
from scan42_jax.eval.reports.generation import Generator
from scan42_jax.eval.reports.patches import FilmPatches
from scan42_jax.eval.reports.presenting import present
from scan42_jax.eval.reports.run import evaluate
from scan42_jax.eval.reports.writer import longest_row
from scan42_jax.metrics.text import score_reports
from scan42_jax.sharding import make_mesh


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return small_reports.prepare(tmp_path_factory.mktemp("iu"))


def test_an_evaluation_leaves_its_texts_scores_and_pages(prepared, tmp_path):
  lines = []
  run = small_reports.evaluation(prepared, tmp_path / "w", say=lines.append)
  outcome = evaluate(run)
  present(run, outcome, {})
  known = outcome.splits.test.pairs.pairs
  metrics = json.loads((run.workdir / "metrics.json").read_text())
  assert metrics["task"] == "report_generation"
  assert metrics["counts"]["test"]["pairs"] == len(known) > 3
  assert set(metrics["test"]) == {
    "films",
    "shuffled films",
    "blank films",
    "most frequent report",
  }
  with (run.workdir / "texts.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["reference"] for row in rows] == [p.text for p in known]
  assert [row["text:films"] for row in rows] == outcome.texts["films"]
  rexrank = json.loads((run.workdir / "rexrank.json").read_text())
  assert set(rexrank) == {pair.image_id for pair in known}
  for name in ("report.html", "cases.html"):
    page = (run.workdir / name).read_text()
    assert "<script" not in page and "http" not in page.replace(
      "http://www.w3.org", ""
    )
  assert "chest pain" in (run.workdir / "cases.html").read_text()

  # A second call does nothing again.
  trained = [line for line in lines if "loss" in line]
  again = evaluate(
    small_reports.evaluation(prepared, run.workdir, say=lines.append)
  )
  assert again.texts == outcome.texts
  assert [line for line in lines if "loss" in line] == trained
  assert sum(line.startswith("read ") for line in lines) == 3


def test_the_binary_names_a_mistake_in_one_line(prepared, tmp_path):
  data_dir, encoder = prepared
  done = subprocess.run(
    [
      sys.executable,
      *("-m", "scan42_jax.eval.report_generation"),
      f"--config={ROOT / 'configs/eval/iu_xray.py'}",
      f"--encoder={encoder}",
      f"--workdir={tmp_path / 'w'}",
      f"--data_dir={data_dir}",
      "--config.training.first.train=projector",
    ],
    env=environment() | {"JAX_PLATFORMS": "cpu"},
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  assert done.stderr.strip().splitlines()[-1] == (
    "error: config.training: train='projector' belongs to"
    " config.decoder='language_model'; the small decoder trains 'all'"
  )


def test_real_reports_are_fitted(real_data_dir, tmp_path):
  """Films with their reports, as they are shipped: the whole path."""
  data_dir = small_reports.prepare_reports(
    real_data_dir / "openi_reports", tmp_path / "data"
  )
  source = open_films(data_dir, "iu_xray", "train")
  chosen = dataclasses.replace(
    small_reports.SMALL,
    text=settings.TextSettings(dataset="iu_xray", max_report_tokens=120),
    small=settings.SmallDecoderSettings(
      vocab_size=1000, width=32, depth=1, num_heads=2, dropout=0.0
    ),
    training=settings.TrainingSettings(
      first=settings.StageSettings(steps=120, learning_rate=1e-2),
      batch_size=4,
      evaluate_every=60,
    ),
    decoding=DecodingSettings(max_tokens=120),
  )
  known = pairs.read_pairs(source, chosen.text).pairs
  assert len({pair.text for pair in known}) > 1
  films = FilmPatches(
    load_encoder(write_encoder(tmp_path / "e")), source, prepared=False
  )
  mesh = make_mesh((-1, 1, 1), jax.devices()[:1])
  sight = building.Sight(films.grid(), films([0]).shape[-1])
  writer, params = building.build(
    chosen, known, mesh=mesh, sight=sight, workdir=tmp_path, folder=None
  )
  stored = films(range(len(source)))
  length, cut = longest_row(writer, known)
  assert cut == 0
  material = training.Material(known, lambda rows: stored[rows], length)
  params, _ = training.train(
    training.Course(
      writer=writer,
      train=material,
      validation=material,
      settings=chosen.training,
      seed=0,
      mesh=mesh,
      workdir=tmp_path,
      config={},
      say=lambda line: None,
    ),
    params,
  )
  generator = Generator(
    writer,
    params,
    settings=chosen.decoding,
    mesh=mesh,
    batch_size=len(known),
    prompt_length=2,
    seed=0,
  )
  texts = generator.write(stored[[pair.film for pair in known]], known)
  scores = score_reports(
    [pair.text for pair in known], texts, [""] * len(known), draws=0
  )
  assert scores["bleu_4"].value > 0.9


@pytest.mark.parametrize("name", ["phantom_reports", "iu_xray", "mimic_cxr"])
def test_configs_hold_settings_that_can_be(name):
  path = ROOT / "configs" / "eval" / f"{name}.py"
  scope: dict = {}
  exec(compile(path.read_text(), str(path), "exec"), scope)
  from scan42_jax.settings import build

  built = build(settings.ReportSettings, scope["get_config"](), "config")
  settings.check(built)
  assert pathlib.Path(os.fspath(path)).read_text().count(f"eval/{name}.py")
