"""A finished writer is opened again and writes as the evaluation did."""

import csv
import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
import small_reports
from language_folders import write_language_model, write_tokenizer
from PIL import Image
from runs import ROOT, environment

from scan42_jax.encoder import load_encoder
from scan42_jax.eval.reports.reporter import is_reporter, load_reporter
from scan42_jax.eval.reports.run import evaluate
from scan42_jax.eval.reports.settings import (
  LanguageModelSettings,
  StageSettings,
)
from scan42_jax.eval.segmenting.segmenter import load_segmenter
from scan42_jax.weights.digest import weights_sha256


def _settings(**stage):
  small = small_reports.SMALL
  first = StageSettings(steps=12, learning_rate=2e-2, **stage)
  return dataclasses.replace(
    small,
    text=dataclasses.replace(small.text, indication=False),
    training=dataclasses.replace(
      small.training, first=first, evaluate_every=12, samples=0
    ),
  )


LANGUAGE = dataclasses.replace(
  _settings(train="projector"),
  decoder="language_model",
  language_model=LanguageModelSettings(
    template="tinyllama", lora_rank=2, pool=2
  ),
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return small_reports.prepare(tmp_path_factory.mktemp("iu"))


def _evaluate(prepared, workdir, chosen, **rest):
  """Returns films of the test split, and what was written about them."""
  run = small_reports.evaluation(
    prepared, workdir, chosen=chosen, devices=1, **rest
  )
  outcome = evaluate(run)
  test = outcome.splits.test
  films = [test.films.film(pair.film) for pair in test.pairs.pairs]
  return films, outcome.texts["films"]


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
  """A work folder, films of the test split, and what was written of them."""
  workdir = tmp_path_factory.mktemp("finished")
  films, texts = _evaluate(prepared, workdir, _settings())
  assert len(set(texts)) > 1, texts
  return workdir, films, texts


def test_a_writer_comes_back(finished):
  workdir, films, texts = finished
  # One batch is not full, and the other one is.
  reporter = load_reporter(workdir)
  assert reporter.section == "findings"
  assert reporter.write([*films, *films]) == [*texts, *texts]


def test_an_encoder_that_learnt_comes_back(prepared, tmp_path):
  chosen = _settings(encoder_learning_rate=1e-3)
  films, texts = _evaluate(prepared, tmp_path, chosen)
  assert len(set(texts)) > 1, texts
  reporter = load_reporter(tmp_path)
  assert reporter.write(films) == texts
  start, learnt = (
    weights_sha256(encoder.params)
    for encoder in (load_encoder(prepared[1]), reporter.viewer.encoder)
  )
  assert start != learnt


def test_films_of_a_folder(finished, tmp_path):
  workdir, films, texts = finished
  folder = tmp_path / "films"
  folder.mkdir()
  for i, film in enumerate(films):
    Image.fromarray(film).save(folder / f"{i:02d}.png")
  (folder / "broken.dcm").write_bytes(b"not a film")
  done = subprocess.run(
    [
      *(sys.executable, "-m", "scan42_jax.eval.predict", f"--model={workdir}"),
      *(f"--images={folder}", f"--output={tmp_path / 'out' / 'texts.csv'}"),
    ],
    env=environment() | {"JAX_PLATFORMS": "cpu"},
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith(f"{len(films)} films scored, 1 refused")
  with (tmp_path / "out" / "texts.csv").open(newline="") as stream:
    rows = {row["file"]: row for row in csv.DictReader(stream)}
  broken = rows.pop("broken.dcm")
  assert list(broken) == ["file", "view", "refused", "findings"]
  assert broken["refused"] and not broken["findings"]
  assert [row["findings"] for row in rows.values()] == texts


def test_a_language_model_stays_in_its_folder(prepared, tmp_path):
  language = tmp_path / "language"
  write_language_model(language, "tinyllama", vocab_size=320)
  write_tokenizer(language, ["No effusion."], template="tinyllama")
  workdir = tmp_path / "w"
  films, texts = _evaluate(prepared, workdir, LANGUAGE, language_model=language)
  assert load_reporter(workdir).write(films) == texts
  with np.load(workdir / "model.npz") as stored:
    kept = {name for name in stored.files if "language_model" in name}
  assert kept and all("/lora_" in name for name in kept)
  # Moved, it is said to be gone; at the other place, it is found.
  shutil.move(language, tmp_path / "elsewhere")
  with pytest.raises(FileNotFoundError, match="the language model is gone"):
    load_reporter(workdir)
  (workdir / "language_model").symlink_to(tmp_path / "elsewhere")
  assert load_reporter(workdir).write(films[:1]) == texts[:1]
  write_language_model(
    tmp_path / "elsewhere", "tinyllama", seed=1, vocab_size=320
  )
  with pytest.raises(ValueError, match="has other weights"):
    load_reporter(workdir)


def test_a_folder_without_a_writer_is_named(finished, tmp_path):
  with pytest.raises(ValueError, match="report generation, not of segm"):
    load_segmenter(finished[0])
  assert not is_reporter(tmp_path)
  with pytest.raises(FileNotFoundError, match="of a finished evaluation"):
    load_reporter(tmp_path)
