"""What the binaries share: a user's mistake ends in one clear line."""

from __future__ import annotations

import pathlib
import re
import sys
import traceback
from typing import NoReturn

from absl import flags


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags; whatever is wrong with them or the config is one line."""
  for flag in argv:
    name, _, value = flag.partition("=")
    path = value.split(":")[0]
    if name == "--config" and not pathlib.Path(path).is_file():
      stop(f"{path}: no such config file")
  try:
    return flags.FLAGS(argv)
  except (LookupError, AttributeError) as error:
    text = re.sub(r"\\n|[\"'\\]", " ", str(error))
    stop(f"the config has no such field: {' '.join(text.split())}")
  except (flags.Error, TypeError, ValueError, OSError) as error:
    # A config file that raises comes with its traceback; the end says why.
    stop(str(error).strip().splitlines()[-1])


def explain(error: Exception, workdir: pathlib.Path | None = None) -> NoReturn:
  """Prints an error's first line and ends; a work folder gets the rest."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  if workdir is not None and workdir.is_dir():
    (workdir / "traceback.txt").write_text(traceback.format_exc())
  stop(lines[0])


def stop(message: str) -> NoReturn:
  """Ends the process with a line on stderr and exit code 1."""
  print(f"error: {message}", file=sys.stderr)
  sys.exit(1)
