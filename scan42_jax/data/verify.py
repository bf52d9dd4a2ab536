"""Re-checks prepared datasets: hashes, counts, every record, ids, patients.

  python -m scan42_jax.data.verify --data_dir=DIR [--dataset=NAME]

Prints one line per fault and ends with exit code 1 if there is any. What is
found is mended by running `scan42_jax.data.prepare` again.
"""

import os
import pathlib
import sys

from absl import app, flags, logging

from scan42_jax import command_line

_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Folder of the prepared datasets.", required=True
)
_DATASET = flags.DEFINE_list(
  "dataset", [], "Names of datasets; default: all that are there."
)
_WORKERS = flags.DEFINE_integer(
  "workers", None, "Processes that decode; default: one a core.", 0
)


def main(argv: list[str]) -> None:
  """Checks what the flags name."""
  logging.set_verbosity(logging.WARNING)
  from scan42_jax.data import sources, verification  # Heavy: TFDS.

  data_dir = pathlib.Path(_DATA_DIR.value).expanduser()
  num_workers = _WORKERS.value
  if num_workers is None:
    num_workers = len(os.sched_getaffinity(0))
  num_faults = 0
  try:
    names = [*_DATASET.value, *argv[1:]] or sources.dataset_names(data_dir)
    for name in names:
      folder = sources.dataset_folder(data_dir, name)
      before = num_faults
      for fault in verification.verify(folder, num_workers=num_workers):
        print(f"{name}: {fault}", flush=True)
        num_faults += 1
      if num_faults == before:
        print(f"{name}: sound", flush=True)
  except (ValueError, OSError) as error:
    print(f"verify: {error}", file=sys.stderr)
    sys.exit(1)
  sys.exit(1 if num_faults else 0)


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parse_flags)
