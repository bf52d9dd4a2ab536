"""Plans a run before it is started: memory, arithmetic, time, advice.

  python -m scan42_jax.plan --config=configs/vitb.py --devices=8 --chip=h100

Everything is read off the traced program; nothing is allocated or compiled, and
no accelerator is needed.
"""

from __future__ import annotations

from absl import app, flags, logging
from ml_collections import config_flags

from scan42_jax import command_line
from scan42_jax.chips import CHIPS

_CONFIG = config_flags.DEFINE_config_file("config", None, "Of the run.")
_DEVICES = flags.DEFINE_integer("devices", 1, "Chips of the run.", 1)
_PRICE = flags.DEFINE_float("price", 0.0, "Of a chip for an hour; 0 unknown.")
_CHIP = flags.DEFINE_enum("chip", "h100", CHIPS, "Its kind.")


def main(argv: list[str]) -> None:
  """Prints the plan."""
  if len(argv) > 1:
    command_line.stop(f"unexpected argument {argv[1]!r}; settings are flags")
  # Imported here, so that --help and a wrong flag are answered at once.
  from scan42_jax import planning
  from scan42_jax.config import from_config

  try:
    settings = from_config(_CONFIG.value)
    chip = CHIPS[_CHIP.value]
    for line in planning.report(settings, _DEVICES.value, chip, _PRICE.value):
      print(line)
  except (ValueError, OSError) as error:
    command_line.explain(error)


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
