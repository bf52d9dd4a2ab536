"""Looks for films and patients that pretraining and evaluation share.

  python -m scan42_jax.data.leakage --data_dir=DIR --pretraining=A,B
    --evaluation=C,D --output=DIR

Writes leakage.html and leakage.csv to the output, and the list of films that
`config.data.exclusions=("leakage",)` keeps out of pretraining to
`exclusions/leakage.csv` in the data folder.
"""

import os
import pathlib
import sys

from absl import app, flags, logging

from scan42_jax import command_line

_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Folder of the prepared datasets.", required=True
)
_PRETRAINING = flags.DEFINE_list(
  "pretraining", None, "Datasets to pretrain on.", required=True
)
_EVALUATION = flags.DEFINE_list(
  "evaluation", None, "Datasets to evaluate on.", required=True
)
_PRETRAINING_SPLIT = flags.DEFINE_string(
  "pretraining_split", "train", "Their split."
)
_EVALUATION_SPLITS = flags.DEFINE_list(
  "evaluation_splits", ["validation", "test"], "Their splits, where they exist."
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "Folder that gets the report.", required=True
)
_EXCLUSIONS = flags.DEFINE_string(
  "exclusions", "leakage", "Name of the list of films to leave out."
)
_THUMBNAILS = flags.DEFINE_integer(
  "thumbnails", 0, "Near-duplicates of each pair of datasets to show.", 0
)
_WORKERS = flags.DEFINE_integer(
  "workers", None, "Processes that decode; default: one a core.", 0
)


def main(argv: list[str]) -> None:
  """Compares what the flags name; user mistakes end in one line."""
  logging.set_verbosity(logging.WARNING)
  try:
    if len(argv) > 1:
      raise ValueError(f"unexpected argument {argv[1]!r}")
    _compare(pathlib.Path(_DATA_DIR.value).expanduser())
  except (ValueError, OSError) as error:
    print(f"leakage: {error}", file=sys.stderr)
    sys.exit(1)


def _compare(data_dir: pathlib.Path) -> None:
  # Heavy: TFDS and all that it brings.
  from scan42_jax.data import exclusions, overlap, overlap_report
  from scan42_jax.pages.page import text_table

  training, evaluated = _splits(data_dir)
  path = exclusions.list_file(data_dir, _EXCLUSIONS.value)

  def scan(name: str, split: str) -> overlap.FilmSet:
    print(f"{name} {split}: reading", flush=True)
    return overlap.scan(data_dir, name, split, num_workers=_num_workers())

  others = [scan(*place) for place in evaluated]
  found = []
  for place in training:  # One at a time: they may be large.
    films = scan(*place)
    found += [
      (films, other, overlap.find_overlaps(films, other)) for other in others
    ]
  output = pathlib.Path(_OUTPUT.value).expanduser()
  output.mkdir(parents=True, exist_ok=True)
  overlap_report.write_pairs(output / "leakage.csv", found)
  facts = {"data": str(data_dir), "list of films to leave out": path.name}
  overlap_report.write_page(
    output / "leakage.html", found, facts=facts, thumbnails=_THUMBNAILS.value
  )
  checked, excluded = overlap_report.exclusions(found)
  exclusions.write_exclusions(path, checked, excluded)
  print(text_table(overlap_report.summary(found)))
  print(
    f"{len(excluded)} films to leave out: {path}, used by "
    f"--config.data.exclusions='(\"{path.stem}\",)'; report: {output}"
  )


def _splits(data_dir) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
  """Returns (dataset, split) of both sides.

  Raises:
    ValueError: a split is on both sides, or evaluation has none.
  """
  from scan42_jax.data import finished, sources

  training = [(name, _PRETRAINING_SPLIT.value) for name in _PRETRAINING.value]
  evaluated = []
  for name in _EVALUATION.value:
    folder = sources.dataset_folder(data_dir, name)
    films = finished.read_manifest(folder)["films"]
    splits = [split for split in _EVALUATION_SPLITS.value if films.get(split)]
    if not splits:
      raise ValueError(
        f"{name} has films in none of --evaluation_splits="
        f"{','.join(_EVALUATION_SPLITS.value)}: {films}"
      )
    evaluated += [(name, split) for split in splits]
  both = set(training) & set(evaluated)
  if both:
    raise ValueError(f"{' '.join(min(both))} is on both sides")
  return training, evaluated


def _num_workers() -> int:
  if _WORKERS.value is None:
    return len(os.sched_getaffinity(0))
  return _WORKERS.value


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parse_flags)
