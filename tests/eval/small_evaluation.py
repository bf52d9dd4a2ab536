"""A small encoder, small films, and a small evaluation of one by the other."""

import dataclasses
import pathlib

from runs import prepare_films
from tiny_encoder import write_encoder

from scan42_jax.eval.classifying import evaluate
from scan42_jax.eval.settings import EvalSettings, build_eval


def prepare(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """Returns an encoder and a data folder with the dataset `folder`."""
  return write_encoder(folder / "encoder"), prepare_films(folder)


def settings(**fields) -> EvalSettings:
  """Returns settings that run in seconds; fields as `group__name`."""
  values = dataclasses.asdict(EvalSettings())
  small = {
    "data__dataset": "folder",
    "data__canvas_px": 64,
    "features__batch_size": 1,
    "report__draws": 100,
    "linear__steps": 60,
    "linear__batch_size": 8,
    "linear__learning_rates": (1e-3, 1e-1),
    "finetune__steps": 6,
    "finetune__batch_size": 8,
    "finetune__warmup_steps": 1,
    "finetune__evaluate_every": 2,
    "few_shot__shots": (1, 3),
    "few_shot__draws": 2,
    "knn__neighbours": (3, 500),
  }
  for name, value in (small | fields).items():
    *groups, leaf = name.split("__")
    target = values
    for group in groups:
      target = target[group]
    assert leaf in target, name
    target[leaf] = value
  return build_eval(values)


def run(workdir, prepared, *, source="", **fields):
  """Evaluates into a work folder and returns the figures."""
  encoder, data_dir = prepared
  workdir.mkdir(exist_ok=True)
  return evaluate(
    settings(**fields),
    source or str(encoder),
    workdir=workdir,
    data_dir=data_dir,
    signals=[],
  )
