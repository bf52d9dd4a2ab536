"""Finds the files of a folder that may hold films, by their names alone."""

import os
import pathlib
import re
from collections.abc import Iterator

_SUFFIXES = {".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg"}


def find_films(source: pathlib.Path) -> Iterator[str]:
  """Yields the files that may be films, sorted, as paths under `source`.

  Taken are the suffixes of DICOM, PNG and JPEG, and names without a suffix as
  DICOM files often have (a UID's last number is none). Hidden files, DICOMDIR
  and folders already seen through another link are left out.
  """
  seen = set()
  for folder, subfolders, files in os.walk(source, followlinks=True):
    here = os.path.realpath(folder)
    if here in seen:
      subfolders.clear()
      continue
    seen.add(here)
    subfolders[:] = sorted(n for n in subfolders if not n.startswith("."))
    for name in sorted(files):
      if _may_be_film(name):
        yield (pathlib.Path(folder) / name).relative_to(source).as_posix()


def _may_be_film(name: str) -> bool:
  suffix = pathlib.PurePath(name).suffix.lower()
  if name.startswith(".") or name == "DICOMDIR":
    return False
  return suffix in _SUFFIXES or bool(re.fullmatch(r"|\.\d+", suffix))
