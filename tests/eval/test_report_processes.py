"""The binary of report generation, killed and run again like a user's."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest
from language_folders import write_language_model, write_tokenizer
from release_trees import iu_xray as tree
from runs import ROOT, environment
from tiny_encoder import write_encoder

from scan42_jax.data import assembly
from scan42_jax.datasets.reading import Options

CONFIG = ROOT / "tests" / "tiny_report_config.py"
SMALL = (
  "--config.film_px=28",
  "--config.training.first.encoder_learning_rate=1e-3",
)
LANGUAGE = (
  "--config.decoder=language_model",
  "--config.training.first.train=projector",
  "--config.training.second.train=projector_and_lora",
  "--config.training.second.steps=3",
)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
  """Prepared films, an encoder, a language model, and programs compiled."""
  folder = tmp_path_factory.mktemp("reports")
  tree.make_tree(folder / "raw", seed=4, num_patients=40)
  assembly.prepare(
    "iu_xray",
    Options(source=folder / "raw", max_broken_percent=100.0),
    data_dir=folder / "data",
    num_workers=0,
    say=lambda line: None,
  )
  write_encoder(folder / "encoder")
  language = folder / "language_model"
  write_language_model(language, "tinyllama", vocab_size=320, shards=2)
  write_tokenizer(language, ["No effusion."], template="tinyllama")
  return folder


def _start(folder, workdir, flags):
  kept = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
  least = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  return subprocess.Popen(
    [
      sys.executable,
      *("-m", "scan42_jax.eval.report_generation"),
      f"--config={CONFIG}",
      f"--encoder={folder / 'encoder'}",
      f"--workdir={workdir}",
      f"--data_dir={folder / 'data'}",
      f"--language_model={folder / 'language_model'}",
      *flags,
    ],
    env=environment() | kept | least | {"JAX_PLATFORMS": "cpu"},
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )


def _kill_at(line, process):
  """Kills a process when it says a line; returns what it said."""
  said = []
  for text in process.stdout:
    said.append(text.rstrip())
    if text.startswith(line):
      os.kill(process.pid, signal.SIGKILL)
      break
  assert process.wait(timeout=900) == -signal.SIGKILL, said
  process.stdout.close()
  return said


def _finish(process):
  said = process.communicate(timeout=900)[0]
  assert process.returncode == 0, said
  return said


def _outcome(workdir):
  metrics = json.loads((workdir / "metrics.json").read_text())
  with (workdir / "texts.csv").open(newline="") as file:
    return metrics["test"], metrics["training"], list(csv.reader(file))


@pytest.mark.parametrize(
  "flags, last_stage",
  [(SMALL, "stage_1"), (LANGUAGE, "stage_2")],
  ids=["small decoder with encoder", "language model"],
)
def test_killed_runs_come_to_the_same(material, tmp_path, flags, last_stage):
  _finish(_start(material, tmp_path / "whole", flags))
  workdir = tmp_path / "killed"
  # It dies after a checkpoint, which may or may not have been written whole.
  _kill_at("stage_1 step 6/6", _start(material, workdir, flags))
  _kill_at("films: 4 of", _start(material, workdir, flags))
  kept = (workdir / "texts" / "films.jsonl").read_text().splitlines()
  assert len(kept) >= 1 + 4
  said = _finish(_start(material, workdir, flags))
  assert f"{last_stage} step 3 validation" not in said
  # Lines of shuffled and blank films end alike.
  assert not any(line.startswith("films: 4 of") for line in said.splitlines())
  assert _outcome(workdir) == _outcome(tmp_path / "whole")
  if flags is LANGUAGE:
    assert {"stage_1", "stage_2"} < set(_outcome(workdir)[1])
