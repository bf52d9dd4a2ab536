"""Pretrains an encoder.

  python -m scan42_jax.main --config=configs/vitb.py --workdir=W --data_dir=D

Flags, distributed start-up and error messages; train.py does the rest. Any
field of the config is a flag: --config.batch_size=64.
"""

from __future__ import annotations

import os
import pathlib
import runpy
import signal
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from scan42_jax import command_line

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
  "This is one of several processes; SLURM, Open MPI, Kubernetes, a TPU or the"
  " next three flags tell where the others are.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "HOST:PORT at which process 0 awaits the others; $JAX_COORDINATOR_ADDRESS.",
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "All processes of the run; $JAX_NUM_PROCESSES.", 1
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "This one of them, from 0; $JAX_PROCESS_ID.", 0
)


def main(argv: list[str]) -> None:
  """Trains; a user's mistake ends in one line and exit code 1."""
  # Imported here, so that --help and a wrong flag are answered at once.
  from scan42_jax import distributed

  with distributed.failing_together():
    stopped = _train(argv)
  if stopped:
    sys.exit(128 + stopped)  # As a shell reports it: the job is not done.


def _train(argv: list[str]) -> signal.Signals | None:
  import jax

  from scan42_jax import distributed, train
  from scan42_jax.program_cache import keep_programs

  workdir = None
  try:
    workdir = command_line.local_folder(_WORKDIR.value)
    if len(argv) > 1:
      raise ValueError(f"unexpected argument {argv[1]!r}; settings are flags")
    if _DISTRIBUTED.value or _COORDINATOR.value:
      distributed.start(
        _COORDINATOR.value,
        num_processes=_NUM_PROCESSES.value,
        process_id=_PROCESS_ID.value,
      )
    workdir.mkdir(parents=True, exist_ok=True)
    keep_programs(workdir / "compiled")
    data_dir = command_line.local_folder(_DATA_DIR.value)
    _make_phantom(data_dir)
    if jax.process_index() == 0:
      _write_environment(workdir)
    return train.train_and_evaluate(_CONFIG.value, workdir, data_dir)
  except (ValueError, OSError, FloatingPointError) as error:
    if distributed.is_failure_elsewhere(error):
      raise
    command_line.explain(error, workdir)


def _write_environment(workdir: pathlib.Path) -> None:
  """Stores the command and the config file's own values, for the report."""
  from scan42_jax.run_report.environment import write_environment
  from scan42_jax.settings import Settings, build, to_json

  path = config_flags.get_config_filename(flags.FLAGS["config"])
  path, _, argument = path.partition(":")
  base = runpy.run_path(path)["get_config"](*filter(None, [argument]))
  write_environment(
    workdir,
    command=["python", "-m", "scan42_jax.main", *sys.argv[1:]],
    base_name=":".join(filter(None, [pathlib.Path(path).name, argument])),
    base=to_json(build(Settings, base, "config")),
  )


def _make_phantom(data_dir: pathlib.Path) -> None:
  """Makes the embedded dataset, which needs no release, unless it is there."""
  import jax
  from jax.experimental import multihost_utils

  from scan42_jax.data import assembly, finished
  from scan42_jax.datasets.phantom import Phantom
  from scan42_jax.datasets.reading import Options

  if "phantom" not in _CONFIG.value.data.datasets:
    return
  folder = data_dir / "phantom" / str(Phantom.VERSION)
  is_there = (folder / finished.MANIFEST).is_file()
  if jax.process_index() == 0 and not is_there:
    assembly.prepare(
      "phantom",
      Options(),
      data_dir=data_dir,
      num_workers=os.cpu_count() or 1,
    )
  multihost_utils.sync_global_devices("phantom films are there")


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
