"""Writes the features of a folder of films or a prepared dataset to a file.

  python -m scan42_jax.features --source=DIR --encoder=SRC --output=FILE

FILE ends in .parquet (class token and mean patch) or .array_record (patch
grids). Kill it at any time and give the same command again. Flags and error
messages only; extraction/ does the work.
"""

from __future__ import annotations

import pathlib
import signal
import sys

from absl import app, flags, logging

from scan42_jax import command_line

_SOURCE = flags.DEFINE_string(
  "source",
  None,
  "Folder of DICOM, PNG and JPEG, or DATA_DIR/NAME of a prepared dataset.",
  required=True,
)
_ENCODER = flags.DEFINE_string(
  "encoder",
  None,
  "Weights: whatever scan42_jax.load_encoder takes.",
  required=True,
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "File that ends in .parquet or .array_record.", required=True
)
_DTYPE = flags.DEFINE_enum(
  "dtype", "float32", ["float32", "bfloat16"], "Of the encoder's activations."
)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", 16, "Films that a device encodes together.", 1
)
_ID_SALT = flags.DEFINE_string(
  "id_salt", "", "Secret that patient ids of DICOM files are hashed with."
)


def main(argv: list[str]) -> None:
  """Extracts features; a user's mistake ends in one line and exit code 1."""
  if len(argv) > 1:
    command_line.stop(f"unexpected argument {argv[1]!r}; settings are flags")
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  try:
    _extract()
  except (ValueError, OSError) as error:
    command_line.explain(error)
  except KeyboardInterrupt:
    print("stopped; what is done is kept, run the same command again")
    sys.exit(130)


def _extract() -> None:
  # Imported here, so that a wrong flag is answered at once.
  import jax

  from scan42_jax import distributed, load_encoder
  from scan42_jax.extraction.extract import Extraction, extract
  from scan42_jax.extraction.films import find_source
  from scan42_jax.extraction.outputs import output_for

  distributed.refuse_several("extraction of features")
  path = pathlib.Path(_OUTPUT.value).expanduser()
  output = output_for(path)
  source = pathlib.Path(_SOURCE.value).expanduser()
  films = find_source(source, id_salt=_ID_SALT.value)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise OSError(f"output {path}: {error.strerror}") from None
  encoder = load_encoder(_ENCODER.value, dtype=_DTYPE.value)
  print(encoder, flush=True)
  extract(
    Extraction(
      encoder=encoder,
      films=films,
      output=output,
      path=path,
      batch_size=_BATCH_SIZE.value * jax.local_device_count(),
    ),
    say=lambda line: print(line, flush=True),
  )


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
