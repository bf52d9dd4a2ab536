"""Writes the page of a pretraining run, or one that compares runs.

  python -m scan42_jax.report WORKDIR WORKDIR --output=page.html

A run keeps WORKDIR/report.html up to date by itself; this makes it anew, for
runs of older versions too, or puts several beside each other.
"""

from __future__ import annotations

import pathlib

from absl import app, flags, logging

from scan42_jax import command_line

_OUTPUT = flags.DEFINE_string(
  "output",
  None,
  "The page; default: WORKDIR/report.html of one run, comparison.html of"
  " several.",
)


def main(argv: list[str]) -> None:
  """Writes the page; a user's mistake ends in one line and exit code 1."""
  workdirs = [pathlib.Path(name).expanduser() for name in argv[1:]]
  if not workdirs:
    command_line.stop("name at least one work folder: report WORKDIR")
  # Imported here, so that a wrong flag is answered at once.
  from scan42_jax.run_report.writing import REPORT, write_report

  if _OUTPUT.value:
    output = pathlib.Path(_OUTPUT.value).expanduser()
  elif len(workdirs) == 1:
    output = workdirs[0] / REPORT
  else:
    output = pathlib.Path("comparison.html")
  try:
    write_report(workdirs, output)
  except (ValueError, OSError) as error:
    command_line.explain(error)
  print(f"open {output}")


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
