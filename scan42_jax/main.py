"""Pretrains an encoder.

  python -m scan42_jax.main --config=configs/vitb.py --workdir=W --data_dir=D

Flags, distributed start-up and error messages; train.py does the rest. Any
field of the config is a flag: --config.batch_size=64.
"""

from __future__ import annotations

import pathlib
import sys
import traceback

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from scan42_jax import train
from scan42_jax.data import assembly
from scan42_jax.datasets.reading import Options

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Python file with get_config().", lock_config=True
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of checkpoints and metrics.", required=True
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", "data", "Folder of the prepared datasets."
)
_DISTRIBUTED = flags.DEFINE_bool(
  "distributed",
  False,
  "This is one of several processes; jax.distributed finds the others (SLURM,"
  " Open MPI, Kubernetes, TPU).",
)


def main(argv: list[str]) -> None:
  """Trains; a user's mistake ends in one line and exit code 1."""
  workdir = pathlib.Path(_WORKDIR.value).expanduser()
  try:
    if len(argv) > 1:
      raise ValueError(f"unexpected argument {argv[1]!r}; settings are flags")
    if _DISTRIBUTED.value:
      jax.distributed.initialize()
    workdir.mkdir(parents=True, exist_ok=True)
    data_dir = pathlib.Path(_DATA_DIR.value).expanduser()
    _make_phantom(data_dir)
    stopped = train.train_and_evaluate(_CONFIG.value, workdir, data_dir)
  except (ValueError, OSError, FloatingPointError) as error:
    _explain(error, workdir)
    sys.exit(1)
  if stopped:
    sys.exit(128 + stopped)  # As a shell reports it: the job is not done.


def _make_phantom(data_dir: pathlib.Path) -> None:
  """Makes the embedded dataset, the only one that needs no release."""
  wanted = "phantom" in _CONFIG.value.data.datasets
  if wanted and not (data_dir / "phantom").exists():
    assembly.prepare("phantom", Options(), data_dir=data_dir, num_workers=2)


def _explain(error: Exception, workdir: pathlib.Path) -> None:
  """Prints the error's first line; the rest goes to a file."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  print(f"error: {lines[0]}", file=sys.stderr)
  if workdir.is_dir():
    (workdir / "traceback.txt").write_text(traceback.format_exc())


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses flags; what ml_collections says of a bad field becomes one line."""
  try:
    return app.parse_flags_with_usage(argv)
  except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    message = " ".join(str(error).strip().strip("'\"").split())
    print(f"error: config: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=_parse_flags)
