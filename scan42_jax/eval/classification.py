"""Judges an encoder by classification: one of five protocols, one work folder.

  python -m scan42_jax.eval.classification --config=configs/eval/phantom.py
    --encoder=SRC --workdir=W --data_dir=D

SRC is whatever `scan42_jax.load_encoder` takes; `random:SRC` is an encoder of
that shape that has learnt nothing. Any field of the config is a flag. A killed
run goes on with the same command.
"""

from __future__ import annotations

import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from scan42_jax import command_line

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Python file with get_config().", lock_config=True
)
_ENCODER = flags.DEFINE_string(
  "encoder",
  None,
  "Weights: whatever scan42_jax.load_encoder takes, or random: before it.",
  required=True,
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of results and of what is cached.", required=True
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", "data", "Folder of the prepared datasets."
)


def main(argv: list[str]) -> None:
  """Evaluates; a user's mistake ends in one line and exit code 1."""
  # Imported here, so that --help and a wrong flag are answered at once.
  from scan42_jax import distributed
  from scan42_jax.eval.classifying import evaluate
  from scan42_jax.eval.settings import build_eval
  from scan42_jax.guards import caught_signals
  from scan42_jax.program_cache import keep_programs

  workdir = pathlib.Path(_WORKDIR.value).expanduser()
  try:
    if len(argv) > 1:
      raise ValueError(f"unexpected argument {argv[1]!r}; settings are flags")
    distributed.refuse_several("classification")
    fields = dict(_CONFIG.value)
    # How the other binary judges the same films.
    fields.pop("segmentation", None)
    settings = build_eval(fields)
    workdir.mkdir(parents=True, exist_ok=True)
    keep_programs(workdir / "compiled")
    with caught_signals() as signals:
      evaluate(
        settings,
        _ENCODER.value,
        workdir=workdir,
        data_dir=pathlib.Path(_DATA_DIR.value).expanduser(),
        signals=signals,
      )
  except (ValueError, OSError, FloatingPointError) as error:
    command_line.explain(error, workdir)
  if signals:
    sys.exit(128 + signals[0])


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
