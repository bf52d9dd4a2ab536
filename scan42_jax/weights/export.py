"""Writes weights as a folder that transformers loads, with a model card.

  python -m scan42_jax.weights.export --workdir=DIR --output=DIR

Takes a checkpoint of a run (--workdir), or any weights (--encoder). Flags and
error messages only; release/ does the work.
"""

from __future__ import annotations

import dataclasses
import pathlib

from absl import app, flags, logging

from scan42_jax import command_line

_WORKDIR = flags.DEFINE_string("workdir", None, "Work folder of a run.")
_ENCODER = flags.DEFINE_string(
  "encoder",
  None,
  "Instead of --workdir: a Hugging Face folder or a DINOv2 checkpoint.",
)
_OUTPUT = flags.DEFINE_string(
  "output",
  None,
  "New folder; an earlier export that nobody changed is replaced.",
  required=True,
)
_STEP = flags.DEFINE_integer(
  "step", None, "Checkpoint of the run; the newest by default."
)
_WHICH = flags.DEFINE_enum(
  "which", "teacher", ["teacher", "student"], "Network of the run."
)
_DINOV2 = flags.DEFINE_bool(
  "dinov2", False, "Add a safetensors file with DINOv2's names and the heads."
)
_LICENSE = flags.DEFINE_string(
  "license",
  None,
  "Licence of the weights for the card, as the Hugging Face hub abbreviates it;"
  " by default that of --encoder, as far as it is known.",
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", "data", "Folder of the prepared datasets, to count their films."
)


def main(argv: list[str]) -> None:
  """Exports; a user's mistake ends in one line and exit code 1."""
  if len(argv) > 1:
    command_line.stop(f"unexpected argument {argv[1]!r}; settings are flags")
  if (_WORKDIR.value is None) == (_ENCODER.value is None):
    command_line.stop("name either --workdir or --encoder")
  if _ENCODER.value and (_STEP.value is not None or _WHICH.value != "teacher"):
    command_line.stop("--step and --which belong to --workdir")
  try:
    _export()
  except (ValueError, OSError) as error:
    command_line.explain(error)


def _export() -> None:
  # Imported here, so that a wrong flag is answered at once.
  from scan42_jax.release.folder import check_output, write_release
  from scan42_jax.release.sources import release_of_run, release_of_weights

  output = pathlib.Path(_OUTPUT.value).expanduser()
  check_output(output)
  if _WORKDIR.value:
    release = release_of_run(
      pathlib.Path(_WORKDIR.value).expanduser(),
      step=_STEP.value,
      which=_WHICH.value,
      data_dir=pathlib.Path(_DATA_DIR.value).expanduser(),
    )
  else:
    release = release_of_weights(_ENCODER.value)
  if _LICENSE.value:
    release = dataclasses.replace(release, license_id=_LICENSE.value)
  write_release(release, output, with_dinov2=_DINOV2.value)
  print(f"wrote {output}")


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
