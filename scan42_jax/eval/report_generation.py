"""Trains a decoder to write reports from films, and scores what it writes.

  python -m scan42_jax.eval.report_generation --config=configs/eval/iu_xray.py
    --encoder=SRC --workdir=W --data_dir=D

Flags and error messages; eval/reports does the rest. The same command goes on
where a killed one stopped. Any field of the config is a flag:
--config.training.batch_size=16.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING

from absl import app, flags, logging
from ml_collections import config_flags

from scan42_jax import command_line

if TYPE_CHECKING:
  from scan42_jax.eval.reports.run import Evaluation

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Python file with get_config().", lock_config=True
)
_ENCODER = flags.DEFINE_string(
  "encoder", None, "Weights of the encoder, or work folder.", required=True
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of everything that is made.", required=True
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", "data", "Folder of the prepared datasets."
)
_LANGUAGE_MODEL = flags.DEFINE_string(
  "language_model",
  None,
  "Hugging Face folder of a language model, for"
  " config.decoder='language_model'.",
)
_CLINICAL_PYTHON = flags.DEFINE_string(
  "clinical_python",
  None,
  "Python of an environment with radgraph or f1chexbert and their weights;"
  " without it there are no clinical metrics.",
)

_SHOWN = ("bleu_4", "rouge_l_google", "cider", "phantom_f1_micro")


def main(argv: list[str]) -> None:
  """Runs the evaluation; a user's mistake ends in one line and exit code 1."""
  # Imported here, so that --help and a wrong flag are answered at once.
  from scan42_jax import distributed
  from scan42_jax.eval.reports import clinical
  from scan42_jax.eval.reports.generation import Stopped
  from scan42_jax.eval.reports.presenting import present
  from scan42_jax.eval.reports.run import evaluate
  from scan42_jax.eval.reports.scoring import FILMS
  from scan42_jax.eval.reports.tokenizer import require_library
  from scan42_jax.eval.reports.training import Interrupted

  workdir = pathlib.Path(_WORKDIR.value).expanduser()
  try:
    if len(argv) > 1:
      raise ValueError(f"unexpected argument {argv[1]!r}; settings are flags")
    distributed.refuse_several("report generation")
    require_library()  # Rather now than after all films are encoded.
    run = _open(workdir)
    outcome = evaluate(run)
    found = {}
    if _CLINICAL_PYTHON.value:
      found = clinical.score(
        [pair.text for pair in outcome.splits.test.pairs.pairs],
        outcome.texts[FILMS],
        python=pathlib.Path(_CLINICAL_PYTHON.value).expanduser(),
        workdir=workdir,
      )
    present(run, outcome, found)
  except (Interrupted, Stopped) as stopped:
    print(f"{stopped}: the same command goes on from here")
    sys.exit(128 + stopped.number)
  except (ValueError, OSError) as error:
    command_line.explain(error, workdir)
  for made_from, values in outcome.scores.estimates.items():
    shown = [f"{name} {values[name]}" for name in _SHOWN if name in values]
    print(f"{made_from}: {', '.join(shown)}")
  print(f"see {workdir / 'report.html'} and {workdir / 'cases.html'}")


def _open(workdir: pathlib.Path) -> Evaluation:
  from scan42_jax.eval.encoders import open_encoder
  from scan42_jax.eval.reports import settings
  from scan42_jax.eval.reports.run import Evaluation
  from scan42_jax.program_cache import keep_programs
  from scan42_jax.settings import build
  from scan42_jax.sharding import make_mesh
  from scan42_jax.weights.digest import weights_sha256

  chosen = build(settings.ReportSettings, _CONFIG.value, "config")
  settings.check(chosen)
  workdir.mkdir(parents=True, exist_ok=True)
  keep_programs(workdir / "compiled")
  encoder = open_encoder(_ENCODER.value, dtype=chosen.dtype, seed=chosen.seed)
  if chosen.film_px:
    encoder = encoder.with_preprocessing(
      resize_px=chosen.film_px, crop_px=None, squash=True
    )
  folder = _LANGUAGE_MODEL.value
  return Evaluation(
    settings=chosen,
    encoder=encoder,
    encoder_name=_ENCODER.value,
    encoder_sha256=weights_sha256(encoder.params),
    mesh=make_mesh(dataclasses.astuple(chosen.mesh)),
    data_dir=pathlib.Path(_DATA_DIR.value).expanduser(),
    workdir=workdir,
    say=lambda line: print(line, flush=True),
    language_model=folder and pathlib.Path(folder).expanduser(),
  )


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
