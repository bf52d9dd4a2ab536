"""Programs that stand for a cluster's own, on the PATH of a script."""

import os
import pathlib
import subprocess


def write(folder: pathlib.Path, name: str, body: str) -> pathlib.Path:
  """Writes an executable shell script."""
  folder.mkdir(exist_ok=True)
  path = folder / name
  path.write_text(f"#!/bin/bash\n{body}\n")
  path.chmod(0o755)
  return path


def run(
  script: str, programs: pathlib.Path, **environment: str
) -> subprocess.CompletedProcess:
  """Runs a script with a folder of programs first on its PATH."""
  path = f"{programs}:{os.environ['PATH']}"
  return subprocess.run(
    ["bash", "-s"],
    input=script,
    env={"PATH": path, **environment},
    capture_output=True,
    text=True,
    timeout=60,
  )
