"""What the binaries share: help, config files, one clear line for a mistake."""

from __future__ import annotations

import contextlib
import pathlib
import re
import sys
import traceback
from typing import NoReturn

from absl import flags

_HELP = {"--help", "-help", "-h", "--helpshort"}
_PACKAGE = pathlib.Path(__file__).parent


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags; whatever is wrong with them or the config is one line."""
  if _HELP & set(argv[1:]):
    print(help_text())
    sys.exit(0)
  argv = _with_config_found(argv)
  try:
    return flags.FLAGS(argv)
  except (LookupError, AttributeError) as error:
    text = re.sub(r"\\n|[\"'\\]", " ", str(error))
    stop(f"the config has no such field: {' '.join(text.split())}")
  except (flags.Error, TypeError, ValueError, OSError) as error:
    # A config file that raises comes with its traceback; the end says why.
    last = str(error).strip().splitlines()[-1]
    missing = re.match(r"flag --(\w+)=None: .* other than None", last)
    stop(f"--{missing[1]} is missing, see --help" if missing else last)


def help_text() -> str:
  """Returns what a binary says of itself, and its own flags."""
  module = sys.modules["__main__"]
  listed = flags.FLAGS.main_module_help().strip().splitlines()
  # The first line is the path of the module.
  text = f"{(module.__doc__ or '').strip()}\n\nFlags:\n\n"
  return text + "\n".join(line for line in listed[1:] if "'None'" not in line)


def find_config(path: str) -> pathlib.Path | None:
  """Finds a config file here or, by the name it has in the project, there.

  Installed, the project's configs lie inside the package; in a checkout, beside
  it.
  """
  for folder in (pathlib.Path(), _PACKAGE, _PACKAGE.parent):
    if (folder / path).is_file():
      return folder / path
  return None


def _with_config_found(argv: list[str]) -> list[str]:
  argv = list(argv)
  for i, flag in enumerate(argv):
    name, equals, value = flag.partition("=")
    if name not in ("--config", "-config"):
      continue
    if not equals and i + 1 < len(argv):
      value = argv.pop(i + 1)  # Given as two words.
    path, colon, argument = value.partition(":")
    found = find_config(path)
    if found is None:
      ours = ", ".join(_our_configs())
      stop(f"{path}: no such config file; scan42_jax has {ours}")
    argv[i] = f"--config={found}{colon}{argument}"
  return argv


def _our_configs() -> list[str]:
  names = set()
  for folder in (_PACKAGE, _PACKAGE.parent):
    files = (folder / "configs").rglob("*.py")
    names |= {str(file.relative_to(folder)) for file in files}
  return sorted(name for name in names if "__" not in name)


def explain(error: Exception, workdir: pathlib.Path | None = None) -> NoReturn:
  """Prints an error's first line and ends; a work folder gets the rest."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  if workdir is not None and workdir.is_dir():
    with contextlib.suppress(OSError):  # The disk may be what failed.
      (workdir / "traceback.txt").write_text(traceback.format_exc())
  stop(lines[0])


def local_folder(text: str) -> pathlib.Path:
  """Reads a flag that names a folder; `~` is the user's home.

  Raises:
    ValueError: it is a URL, which would become a folder of that name here.
  """
  if "://" in text:
    raise ValueError(
      f"{text}: only folders of this machine are read and written; mount the"
      " object store, with gcsfuse for example, and name its folder"
    )
  return pathlib.Path(text).expanduser()


def stop(message: str) -> NoReturn:
  """Ends the process with a line on stderr and exit code 1."""
  print(f"error: {message}", file=sys.stderr)
  sys.exit(1)
