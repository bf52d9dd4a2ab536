"""Segmentation of small real films, one row for each encoder and head.

  python -m benchmarks.real_masks --samples=DIR --work=DIR --encoder=SRC

DIR of --samples is the folder covid_cxr, of which 25 films have outlines of
lungs and heart that radiologists drew. Each further --encoder adds rows; the
first one's shape with random weights is always among them. Patients are split
by a digest of their number. Runs that are finished are not repeated.

The sample shows that the path works, not that a model is good.
"""

import argparse
import csv
import hashlib
import pathlib
import shlex
import subprocess
import sys

import numpy as np
from PIL import Image

from scan42_jax.data import assembly
from scan42_jax.datasets.reading import MASK_NAMES, Options

_NAME = "covid_cxr"
_SHARES = {"train": 0.55, "validation": 0.75, "test": 1.0}
HEADS = {
  "linear": (),
  "decoder": ("--config.segmentation.head.kind=decoder",),
  "linear, encoder trained": ("--config.segmentation.train.train_encoder",),
}
_SMALL = (
  "--config.segmentation.data.size_px=320",
  "--config.segmentation.train.steps=400",
  "--config.segmentation.train.batch_size=8",
  "--config.segmentation.train.evaluate_every=50",
)


def main() -> None:
  """Prepares the films, runs what is missing, prints the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--samples", type=pathlib.Path, required=True)
  parser.add_argument("--work", type=pathlib.Path, required=True)
  parser.add_argument("--encoder", action="append", required=True)
  arguments = parser.parse_args()
  work = arguments.work
  prepare(arguments.samples, work)
  rows = []
  for head in HEADS:
    for encoder in [f"random:{arguments.encoder[0]}", *arguments.encoder]:
      rows.append(run(encoder, head, work))
  head = rows[0].splitlines()[:2]
  table = "\n".join([*head, *(row.splitlines()[2] for row in rows)])
  (work / "masks.md").write_text(table + "\n")
  print(table)


def prepare(samples: pathlib.Path, work: pathlib.Path) -> None:
  """Prepares the films that have masks, of which each gets a file."""
  source, table = work / _NAME, work / f"{_NAME}.csv"
  if not table.exists():  # Files written anew would be films of another date.
    source.mkdir(parents=True, exist_ok=True)
    with (samples / "metadata.csv").open(newline="") as stream:
      rows = [
        _draw(row, samples, source)
        for row in csv.DictReader(stream)
        if row["mask_radiologist"]
      ]
    with table.open("w", newline="") as stream:
      writer = csv.DictWriter(stream, list(rows[0]))
      writer.writeheader()
      writer.writerows(rows)
  assembly.prepare(
    "folder",
    Options(source=source, name=_NAME, labels_csv=table),
    data_dir=work / "data",
    num_workers=0,
  )


def _draw(
  row: dict[str, str], samples: pathlib.Path, source: pathlib.Path
) -> dict[str, str]:
  """Writes a film and its masks; returns its row of the table."""
  film = Image.open(samples / "images" / row["image"])
  film.convert("L").save(source / row["image"], quality=95)
  drawn = np.asarray(Image.open(samples / row["mask_radiologist"]))
  cells = {
    "file": row["image"],
    "patient_id": row["patient_id"],
    "split": _split(row["patient_id"]),
    **{name: row[name] for name in ("view", "sex", "age")},
  }
  for number, name in enumerate(MASK_NAMES, start=1):
    column = f"mask_{name}"
    cells[column] = f"{pathlib.Path(row['image']).stem}_{column}.png"
    mask = Image.fromarray(np.uint8(drawn == number) * 255)
    mask.save(source / cells[column])
  return cells


def run(encoder: str, head: str, work: pathlib.Path) -> str:
  """Runs one evaluation, unless it is finished; returns its Markdown row."""
  digest = hashlib.sha256(f"{encoder} {head}".encode()).hexdigest()[:8]
  folder = work / "masks" / digest
  command = [
    sys.executable,
    "-m",
    "scan42_jax.eval.segmentation",
    f"--config=configs/eval/folder.py:{_NAME}",
    f"--encoder={encoder}",
    f"--workdir={folder}",
    f"--data_dir={work / 'data'}",
    "--config.segmentation.report.random_encoder=False",
    *_SMALL,
    *HEADS[head],
  ]
  if not (folder / "metrics.json").is_file():
    print("+", shlex.join(["python", *command[1:]]), flush=True)
    subprocess.run(command, check=True)
  return (folder / "results.md").read_text()


def _split(patient: str) -> str:
  digest = hashlib.sha256(patient.encode()).digest()
  place = int.from_bytes(digest[:4], "big") / 2**32
  return next(name for name, end in _SHARES.items() if place < end)


if __name__ == "__main__":
  main()
