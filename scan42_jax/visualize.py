"""Draws what an encoder sees in films: attention, components, similarity.

  python -m scan42_jax.visualize --encoder=SRC --images=A.dcm,B.png --output=DIR

Writes PNG files and one page, DIR/index.html, that needs nothing else. Flags
and error messages only; pictures/ does the work.
"""

from __future__ import annotations

import pathlib

from absl import app, flags, logging

from scan42_jax import command_line

_ENCODER = flags.DEFINE_string(
  "encoder",
  None,
  "Weights: whatever scan42_jax.load_encoder takes.",
  required=True,
)
_IMAGES = flags.DEFINE_list(
  "images", None, "Paths or globs of DICOM, PNG and JPEG.", required=True
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "Folder of the pictures.", required=True
)
_POINT = flags.DEFINE_multi_string(
  "point",
  ["0.3,0.4", "0.5,0.62", "0.7,0.8"],
  "x,y of a similarity map, as shares of a film's width and height;"
  " repeatable.",
)


def main(argv: list[str]) -> None:
  """Draws; a user's mistake ends in one line and exit code 1."""
  if len(argv) > 1:
    command_line.stop(f"unexpected argument {argv[1]!r}; settings are flags")
  try:
    points = [_point(text) for text in _POINT.value]
    # Imported here, so that a wrong flag is answered at once.
    from scan42_jax import load_encoder
    from scan42_jax.pictures.gallery import find_images, write_gallery

    images = find_images(_IMAGES.value)
    output = pathlib.Path(_OUTPUT.value).expanduser()
    try:
      output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise OSError(f"output {output}: {error.strerror}") from None
    encoder = load_encoder(_ENCODER.value)
    print(encoder, flush=True)
    page = write_gallery(encoder, images, output=output, points=points)
  except (ValueError, OSError) as error:
    command_line.explain(error)
  print(f"open {page}")


def _point(text: str) -> tuple[float, float]:
  try:
    x, y = map(float, text.split(","))
  except ValueError:
    x = y = -1.0
  if not (0 <= x <= 1 and 0 <= y <= 1):
    raise ValueError(f"point {text!r} is not x,y with both in 0..1")
  return x, y


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
