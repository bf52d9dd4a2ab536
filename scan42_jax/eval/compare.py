"""Puts two finished evaluations of the same test films side by side.

  python -m scan42_jax.eval.compare A B [--output=DIR]

A and B are work folders. Every difference is B less A on the same resamples of
patients, with a 95 % percentile interval. Prints the table and writes
comparison.md and comparison.html to DIR, by default into B.
"""

from __future__ import annotations

import pathlib

from absl import app, flags, logging

from scan42_jax import command_line

_OUTPUT = flags.DEFINE_string(
  "output", None, "Folder of comparison.md and comparison.html; default: B."
)
_DRAWS = flags.DEFINE_integer("draws", 500, "Resamples.", 100)
_SEED = flags.DEFINE_integer("seed", 0, "Of the resamples.")


def main(argv: list[str]) -> None:
  """Compares; a user's mistake ends in one line and exit code 1."""
  # Imported here, so that --help and a wrong flag are answered at once.
  from scan42_jax.eval.comparison import compare

  try:
    if len(argv) != 3:
      raise ValueError("give the work folders of two evaluations: A B")
    first, second = (pathlib.Path(text).expanduser() for text in argv[1:])
    output = pathlib.Path(_OUTPUT.value or second).expanduser()
    compare(first, second, output, draws=_DRAWS.value, seed=_SEED.value)
  except (ValueError, OSError) as error:
    command_line.explain(error)


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
