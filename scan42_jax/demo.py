"""Shows in a browser what an encoder makes of single films.

  python -m scan42_jax.demo --encoder=SRC --head=DIR --films=DIR

Drop a DICOM, PNG or JPEG: attention, components, masks, findings and texts of
heads, nearest films of a folder. On this machine alone; needs the extra [demo].
"""

from __future__ import annotations

import importlib.util
import pathlib

from absl import app, flags, logging

from scan42_jax import command_line

_ENCODER = flags.DEFINE_string(
  "encoder",
  None,
  "Weights: whatever scan42_jax.load_encoder takes.",
  required=True,
)
_HEAD = flags.DEFINE_multi_string(
  "head",
  [],
  "Work folder of a finished classification, segmentation or report generation;"
  " repeatable.",
)
_FILMS = flags.DEFINE_string(
  "films", None, "Folder of films among which the nearest are sought."
)
_PORT = flags.DEFINE_integer("port", 7860, "On 127.0.0.1.", 1, 65535)
_MAX_MB = flags.DEFINE_integer("max_mb", 64, "Largest upload.", 1)


def main(argv: list[str]) -> None:
  """Serves the demo; a user's mistake ends in one line and exit code 1."""
  if len(argv) > 1:
    command_line.stop(f"unexpected argument {argv[1]!r}; settings are flags")
  if importlib.util.find_spec("gradio") is None:
    command_line.stop("the demo needs Gradio: pip install 'scan42-jax[demo]'")
  # Imported here, so that a wrong flag is answered at once.
  from scan42_jax import load_encoder
  from scan42_jax.showroom import interface
  from scan42_jax.showroom.looking import Showroom, read_neighbours

  try:
    encoder = load_encoder(_ENCODER.value)
    print(encoder, flush=True)
    neighbours = None
    if _FILMS.value:
      folder = pathlib.Path(_FILMS.value).expanduser()
      neighbours = read_neighbours(encoder, folder, print)
    heads = [pathlib.Path(head).expanduser() for head in _HEAD.value]
    room = Showroom(encoder, heads=heads, neighbours=neighbours)
    print(f"open http://{interface.HOST}:{_PORT.value}", flush=True)
    interface.serve(
      room, title=str(encoder), port=_PORT.value, max_mb=_MAX_MB.value
    )
  except (ValueError, OSError) as error:
    command_line.explain(error)


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
