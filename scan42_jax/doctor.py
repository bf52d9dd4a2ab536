"""Checks this machine and the prepared data, and says what to mend.

  python -m scan42_jax.doctor [--data_dir=D]

One line for everything it looked at. Exit code 1 if something will not work.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import sys

from absl import app, flags, logging

from scan42_jax import command_line

_DATA_DIR = flags.DEFINE_string(
  "data_dir", "data", "Folder of the prepared datasets."
)
_HASH_SECONDS = flags.DEFINE_float(
  "hash_seconds", 8.0, "Time for hashes of the data; 0 compares sizes.", 0.0
)


def main(argv: list[str]) -> None:
  """Prints one line a check; ends with 1 if one has failed."""
  if len(argv) > 1:
    command_line.stop(f"unexpected argument {argv[1]!r}; settings are flags")
  # Its programs run for milliseconds: time is better not spent on making them
  # fast.
  quickly = "--xla_backend_optimization_level=0"
  os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {quickly}"
  # Imported here, so that a wrong flag is answered at once.
  from scan42_jax.checkup import data, machine, trial

  data_dir = pathlib.Path(_DATA_DIR.value).expanduser()
  places = {"data": data_dir, "work folders here": pathlib.Path()}
  levels = []
  for finding in itertools.chain(
    machine.versions(),
    machine.devices(),
    machine.attention(),
    machine.memory(),
    machine.disk(places),
    machine.file_limits(),
    data.datasets(data_dir, seconds=_HASH_SECONDS.value),
    trial.one_step(),
  ):
    levels.append(finding.level)
    print(f"{finding.level:<5}{finding.name:<12}{finding.text}", flush=True)
    if finding.fix:
      print(f"{'':<17}-> {finding.fix}", flush=True)
  failed, warned = levels.count("fail"), levels.count("warn")
  print(
    f"{failed} to mend, {warned} to know of"
    if failed or warned
    else "all is well"
  )
  sys.exit(1 if failed else 0)


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
