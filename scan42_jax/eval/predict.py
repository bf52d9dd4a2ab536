"""Scores a folder of films with the model that an evaluation came to.

  python -m scan42_jax.eval.predict --model=WORKDIR --images=DIR --output=OUT

WORKDIR is that of a classification or of a report generation, and OUT becomes a
CSV with one row for each DICOM, PNG or JPEG of DIR, refused files included,
with the reason; or it is that of a segmentation, and OUT becomes a folder of
masks with such a table. Not for clinical use.
"""

from __future__ import annotations

import pathlib

from absl import app, flags, logging

from scan42_jax import command_line

_MODEL = flags.DEFINE_string(
  "model", None, "Work folder of a finished evaluation.", required=True
)
_IMAGES = flags.DEFINE_string(
  "images", None, "Folder of DICOM, PNG and JPEG films.", required=True
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "CSV to write, or folder of masks.", required=True
)


def main(argv: list[str]) -> None:
  """Scores the films; a user's mistake ends in one line and exit code 1."""
  # Imported here, so that --help and a wrong flag are answered at once.
  from scan42_jax.datasets.film_files import find_films

  try:
    if len(argv) > 1:
      raise ValueError(f"unexpected argument {argv[1]!r}; settings are flags")
    folder = pathlib.Path(_IMAGES.value).expanduser()
    if not folder.is_dir():
      raise FileNotFoundError(f"images {folder}: no such folder")
    files = list(find_films(folder))
    if not files:
      raise FileNotFoundError(
        f"images {folder} holds no DICOM, PNG or JPEG file"
      )
    scored, refused = _predict(folder, files)
    print(f"{scored} films scored, {refused} refused: {_OUTPUT.value}")
  except (ValueError, OSError) as error:
    command_line.explain(error)


def _predict(folder: pathlib.Path, files: list[str]) -> tuple[int, int]:
  """Returns numbers of films that were scored and that were refused."""
  from scan42_jax.eval.adapted import load_model
  from scan42_jax.eval.prediction import predict_files, predict_texts
  from scan42_jax.eval.reports.reporter import is_reporter, load_reporter
  from scan42_jax.eval.segmenting.mask_prediction import predict_masks
  from scan42_jax.eval.segmenting.segmenter import is_segmenter, load_segmenter

  workdir = pathlib.Path(_MODEL.value).expanduser()
  output = pathlib.Path(_OUTPUT.value).expanduser()
  if is_segmenter(workdir):
    return predict_masks(load_segmenter(workdir), folder, files, output)
  if is_reporter(workdir):
    predict, model = predict_texts, load_reporter(workdir)
  else:
    predict, model = predict_files, load_model(workdir)
  output.parent.mkdir(parents=True, exist_ok=True)
  return predict(model, folder, files, output)


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
