"""Describes a prepared dataset: films, views, sex, age, labels, sizes.

  python -m scan42_jax.data.describe --data_dir=DIR --dataset=NAME [--html=FILE]

Prints tables; --html also writes them to one page, with pictures of films only
where --thumbnails asks for them.
"""

import pathlib
import sys

from absl import app, flags, logging

from scan42_jax import command_line

_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Folder of the prepared datasets.", required=True
)
_DATASET = flags.DEFINE_string("dataset", None, "Name of the dataset.")
_HTML = flags.DEFINE_string("html", None, "File that gets the page.")
_THUMBNAILS = flags.DEFINE_integer(
  "thumbnails", 0, "Films of each split to show on the page.", 0
)


def main(argv: list[str]) -> None:
  """Describes the dataset that the flags or the only argument name."""
  logging.set_verbosity(logging.WARNING)
  names = [name for name in (_DATASET.value, *argv[1:]) if name]
  try:
    if len(names) != 1:
      raise ValueError("name one dataset: --dataset=NAME")
    if _THUMBNAILS.value and not _HTML.value:
      raise ValueError("--thumbnails needs --html=FILE to show them on")
    _describe(pathlib.Path(_DATA_DIR.value).expanduser(), names[0])
  except (ValueError, OSError) as error:
    print(f"describe: {error}", file=sys.stderr)
    sys.exit(1)


def _describe(data_dir: pathlib.Path, name: str) -> None:
  # Heavy: TFDS and all that it brings.
  from scan42_jax.data import description, finished, sources, statistics
  from scan42_jax.pages import page

  manifest = finished.read_manifest(sources.dataset_folder(data_dir, name))
  films = [
    sources.open_films(data_dir, name, split)
    for split, count in manifest["films"].items()
    if count
  ]
  splits = [statistics.count_split(source) for source in films]
  tables = description.tables(splits)
  facts = description.facts(manifest)
  for fact, value in facts.items():
    print(f"{fact}: {value}")
  for table in tables:
    print(f"\n{table.title}\n{page.text_table(table)}")
  if not _HTML.value:
    return
  figures = description.prevalence_chart(splits)
  for source in films if _THUMBNAILS.value else ():
    figures += description.thumbnails(source, _THUMBNAILS.value)
  path = pathlib.Path(_HTML.value).expanduser()
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(
    page.render_page(
      f"Dataset {name}", facts=facts, tables=tables, figures=figures
    )
  )
  print(f"\npage: {path}")


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parse_flags)
