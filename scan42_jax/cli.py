"""The command `scan42`: one name for every binary of the package.

  scan42 pretrain --config=configs/quickstart.py --workdir=W

is python -m scan42_jax.main with the same flags. Imports nothing of what it
starts.
"""

from __future__ import annotations

import runpy
import sys
import warnings

from scan42_jax import __version__, command_line

COMMANDS = {
  "pretrain": ("scan42_jax.main", "pretrain an encoder"),
  "prepare": ("scan42_jax.data.prepare", "raw films to a dataset"),
  "describe": ("scan42_jax.data.describe", "look at a prepared dataset"),
  "verify": ("scan42_jax.data.verify", "check a prepared dataset"),
  "leakage": ("scan42_jax.data.leakage", "films that two datasets share"),
  "plan": ("scan42_jax.plan", "memory and time of a run, beforehand"),
  "status": ("scan42_jax.status", "how a run is doing"),
  "replay": ("scan42_jax.replay", "go through one step of a run again"),
  "report": ("scan42_jax.report", "page of a run, or of several"),
  "eval classification": (
    "scan42_jax.eval.classification",
    "judge an encoder by findings",
  ),
  "eval segmentation": (
    "scan42_jax.eval.segmentation",
    "judge an encoder by masks",
  ),
  "eval report_generation": (
    "scan42_jax.eval.report_generation",
    "judge an encoder by texts",
  ),
  "eval compare": ("scan42_jax.eval.compare", "compare two evaluations"),
  "eval predict": ("scan42_jax.eval.predict", "use a head on a folder"),
  "features": ("scan42_jax.features", "features of many films"),
  "visualize": ("scan42_jax.visualize", "what an encoder sees"),
  "export": ("scan42_jax.weights.export", "a folder to publish"),
  "demo": ("scan42_jax.demo", "try an encoder in a browser"),
  "doctor": ("scan42_jax.doctor", "check this machine and the data"),
}
"""What the user types -> module, and what it is for."""


def main() -> None:
  """Starts the binary that the first words name."""
  words = sys.argv[1:]
  if not words or words[0] in ("--help", "-h", "help"):
    print(usage())
    sys.exit(0)
  if words[0] == "--version":
    print(__version__)
    sys.exit(0)
  for length in (2, 1):
    name = " ".join(words[:length])
    if name in COMMANDS:
      sys.argv = [f"scan42 {name}", *words[length:]]
      # Importing a package may already have imported the module, harmlessly.
      warnings.filterwarnings(
        "ignore", r".*found in sys\.modules", RuntimeWarning
      )
      runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)
      return
  command_line.stop(
    f"no command {' '.join(words[:2])!r}; there is {', '.join(COMMANDS)}"
  )


def usage() -> str:
  """Returns the list of commands."""
  width = max(map(len, COMMANDS))
  lines = [
    f"  scan42 {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()
  ]
  return "\n".join(
    [
      "Vision foundation models for chest X-rays. Not for clinical use.",
      "",
      *lines,
      "",
      "scan42 COMMAND --help tells the flags; python -m MODULE is the same.",
    ]
  )
