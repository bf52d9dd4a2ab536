"""Prepares a dataset: raw films and tables to shards of grey JPEG.

  python -m scan42_jax.data.prepare --dataset=folder --source=DIR --data_dir=DIR

Run it again after a kill, after adding or repairing files: it does only what is
missing. Only flags are read here; worker processes import this module again,
so it stays light.
"""

import os
import pathlib
import signal
import sys

from absl import app, flags, logging

from scan42_jax import command_line
from scan42_jax.data.beam import BeamSettings
from scan42_jax.datasets.reading import Options

_DATASET = flags.DEFINE_string(
  "dataset", None, "Name of the dataset.", required=True
)
_SOURCE = flags.DEFINE_string("source", None, "Folder of the raw release.")
_NAME = flags.DEFINE_string(
  "name", "", "Name under which it is stored; default: the dataset's own."
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Folder of the prepared datasets.", required=True
)
_WORKERS = flags.DEFINE_integer(
  "workers", None, "Processes that read films; default: one a core.", 0
)
_PUBLISHED = flags.DEFINE_bool(
  "published",
  False,
  "Store films as the published run had them, equalised, under another name.",
)
_SHORT_SIDE_PX = flags.DEFINE_integer(
  "short_side_px", 1024, "Films are shrunk to this short side."
)
_ALL_VIEWS = flags.DEFINE_bool(
  "all_views", False, "Keep lateral and oblique films."
)
_KEEP_BURNED_IN = flags.DEFINE_bool(
  "keep_burned_in", False, "Keep films that say text is drawn into them."
)
_LABELS_CSV = flags.DEFINE_string(
  "labels_csv",
  None,
  "folder: table with column `file`; see datasets/folder.py. chexmask: one of "
  "its tables.",
)
_MIN_MASK_QUALITY = flags.DEFINE_float(
  "min_mask_quality", 0.7, "chexmask: leave out films of a smaller Dice RCA."
)
_EXCLUDE = flags.DEFINE_multi_string(
  "exclude", [], "folder: leave out files that match this glob; repeatable."
)
_KEEP_IDS = flags.DEFINE_bool(
  "keep_ids", False, "folder: store ids as they are instead of hashes."
)
_HASH_IDS = flags.DEFINE_bool(
  "hash_ids", False, "Hash the ids of any dataset; needs --id_salt."
)
_ID_SALT = flags.DEFINE_string(
  "id_salt", "", "Secret of your own, so that hashed ids cannot be guessed."
)
_SPLIT_SEED = flags.DEFINE_integer(
  "split_seed", 0, "Seed of the split by patient."
)
_HOLDOUT_PERCENT = flags.DEFINE_float(
  "holdout_percent", 5.0, "Patients for validation, and as many for test."
)
_PHANTOM_FILMS = flags.DEFINE_integer(
  "phantom_films", 3500, "phantom: how many films to draw."
)
_MAX_BROKEN_PERCENT = flags.DEFINE_float(
  "max_broken_percent",
  None,
  "Share of broken rows and files to stop at; default: 10, from 100 rows up.",
)
_BEAM_RUNNER = flags.DEFINE_string(
  "beam_runner",
  None,
  "Read films on Apache Beam: FnApiRunner for this machine, FlinkRunner, ...",
)
_BEAM_OPTION = flags.DEFINE_multi_string(
  "beam_option", [], "NAME=VALUE for Beam and its runner; repeatable."
)


def main(argv: list[str]) -> None:
  """Prepares the dataset that the flags name; user mistakes end in one line."""
  if len(argv) > 1:
    _stop(f"unexpected argument {argv[1]!r}")
  logging.set_verbosity(logging.WARNING)
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  from scan42_jax.data import assembly  # Heavy: TFDS and all that it brings.

  try:
    assembly.prepare(
      _DATASET.value,
      _options(),
      data_dir=pathlib.Path(_DATA_DIR.value).expanduser(),
      num_workers=_num_workers(),
      beam=_beam(),
      say=lambda line: print(line, flush=True),
    )
  except (ValueError, OSError) as error:
    _stop(str(error))
  except KeyboardInterrupt:
    print("stopped; films read so far are kept, run the same command again")
    sys.exit(130)


def _options() -> Options:
  return Options(
    source=_path(_SOURCE.value),
    name=_NAME.value,
    published=_PUBLISHED.value,
    short_side_px=_SHORT_SIDE_PX.value,
    all_views=_ALL_VIEWS.value,
    keep_burned_in=_KEEP_BURNED_IN.value,
    labels_csv=_path(_LABELS_CSV.value),
    min_mask_quality=_MIN_MASK_QUALITY.value,
    exclude=tuple(_EXCLUDE.value),
    keep_ids=_KEEP_IDS.value,
    hash_ids=_HASH_IDS.value,
    id_salt=_ID_SALT.value,
    split_seed=_SPLIT_SEED.value,
    holdout_percent=_HOLDOUT_PERCENT.value,
    phantom_films=_PHANTOM_FILMS.value,
    max_broken_percent=_MAX_BROKEN_PERCENT.value,
  )


def _path(text: str | None) -> pathlib.Path | None:
  return pathlib.Path(text).expanduser() if text else None


def _beam() -> BeamSettings | None:
  if not _BEAM_RUNNER.value:
    return None
  return BeamSettings(
    runner=_BEAM_RUNNER.value, options=tuple(_BEAM_OPTION.value)
  )


def _num_workers() -> int:
  if _WORKERS.value is None:
    return len(os.sched_getaffinity(0))
  return _WORKERS.value


def _stop(line: str) -> None:
  print(f"prepare: {line}", file=sys.stderr)
  sys.exit(1)


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parse_flags)
