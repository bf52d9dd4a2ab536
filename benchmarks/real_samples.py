"""Classification on small real samples, one row for each encoder and protocol.

  python -m benchmarks.real_samples --samples=DIR --work=DIR --encoder=SRC

DIR of --samples holds the folders pediatric_pneumonia, nih_cxr14 and
nih_tiny64; docs/results.md says what is in them. Each further --encoder adds
rows; the first one's shape with random weights is always among them. The films
are prepared below --work, split by patient so that a patient of both NIH sets
is in the same split of both. Runs that are finished are not repeated.

The samples show that the path works, not that a model is good.
"""

import argparse
import csv
import hashlib
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
from PIL import Image

from scan42_jax.data import assembly
from scan42_jax.datasets.nih_cxr8 import LABEL_NAMES
from scan42_jax.datasets.reading import Options

ANY_FINDING = "Any finding"
_NIH_SHARES = {"train": 0.45, "validation": 0.6, "test": 1.0}

RUNS = {
  "pediatric_pneumonia": [
    ("linear", "--config.data.labels=('Pneumonia',)"),
    ("logistic", "--config.data.labels=('Pneumonia',)"),
  ],
  "nih_cxr14": [
    ("linear", f"--config.data.labels=('{ANY_FINDING}',)"),
    ("logistic", f"--config.data.labels=('{ANY_FINDING}',)"),
    ("linear", f"--config.data.labels={LABEL_NAMES}"),
    ("logistic", f"--config.data.labels={LABEL_NAMES}"),
  ],
  "nih_tiny64": [
    ("linear", f"--config.data.labels={LABEL_NAMES}"),
    ("finetune", f"--config.data.labels={LABEL_NAMES}"),
  ],
}
"""Protocols and flags of each set of films."""

_FINETUNE = (
  "--config.finetune.steps=300",
  "--config.finetune.batch_size=16",
  "--config.finetune.warmup_steps=30",
  "--config.finetune.evaluate_every=30",
  "--config.finetune.augment.scale=(0.5,1.0)",
)


def main() -> None:
  """Prepares the films, runs what is missing, prints the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--samples", type=pathlib.Path, required=True)
  parser.add_argument("--work", type=pathlib.Path, required=True)
  parser.add_argument("--encoder", action="append", required=True)
  parser.add_argument("--only", choices=RUNS, help="one set of films")
  arguments = parser.parse_args()
  work = arguments.work
  work.mkdir(parents=True, exist_ok=True)
  rows = []
  for name in [arguments.only] if arguments.only else RUNS:
    prepare(name, arguments.samples / name, work)
    for flags in RUNS[name]:
      for encoder in [f"random:{arguments.encoder[0]}", *arguments.encoder]:
        rows.append(run(name, encoder, work, *flags))
  head = rows[0].splitlines()[:2]
  table = "\n".join([*head, *(row.splitlines()[2] for row in rows)])
  (work / "results.md").write_text(table + "\n")
  print(table)


def run(
  name: str, encoder: str, work: pathlib.Path, protocol: str, *flags: str
) -> str:
  """Runs one evaluation, unless it is finished; returns its Markdown row."""
  key = f"{encoder} {protocol} {flags}"
  digest = hashlib.sha256(key.encode()).hexdigest()[:8]
  folder = work / "runs" / f"{name}_{protocol}_{digest}"
  command = [
    sys.executable,
    "-m",
    "scan42_jax.eval.classification",
    f"--config=configs/eval/folder.py:{name}",
    f"--encoder={encoder}",
    f"--workdir={folder}",
    f"--data_dir={work / 'data'}",
    f"--config.protocol={protocol}",
    *flags,
    *(_FINETUNE if protocol == "finetune" else ()),
  ]
  if not (folder / "metrics.json").is_file():
    print("+", shlex.join(["python", *command[1:]]), flush=True)
    subprocess.run(command, check=True)
  return (folder / "results.md").read_text()


def prepare(name: str, source: pathlib.Path, work: pathlib.Path) -> None:
  """Writes the table of labels and prepares the films of one set."""
  table = work / f"{name}.csv"
  if name == "nih_tiny64":
    source = _unpack(source, work / name)
  rows = _TABLES[name](source)
  first = next(rows)
  with table.open("w", newline="") as stream:
    writer = csv.DictWriter(stream, list(first))
    writer.writeheader()
    writer.writerow(first)
    writer.writerows(rows)
  assembly.prepare(
    "folder",
    Options(source=source, name=name, labels_csv=table),
    data_dir=work / "data",
    num_workers=1,
  )


def _pediatric(source: pathlib.Path) -> Iterator[dict[str, str]]:
  for cells in _read(source / "labels.csv"):
    yield {
      "file": cells["image"],
      "patient_id": cells["patient_id"],
      "split": cells["split"],
      "Pneumonia": cells["pneumonia"],
      **{
        name.capitalize(): int(cells["label"] == name)
        for name in ("normal", "bacteria", "virus")
      },
    }


def _nih_cxr14(source: pathlib.Path) -> Iterator[dict[str, str]]:
  for cells in _read(source / "Data_Entry_2017_v2020.csv"):
    stem = pathlib.Path(cells["Image Index"]).stem
    yield _nih_row(cells, f"images_518/{stem}.jpg")


def _nih_tiny64(source: pathlib.Path) -> Iterator[dict[str, str]]:
  for cells in _read(source / "labels.csv"):
    yield _nih_row(cells, cells["Image Index"])


def _nih_row(cells: dict[str, str], file: str) -> dict[str, str]:
  found = cells["Finding Labels"].split("|")
  patient = f"nih-{int(cells['Patient ID'])}"
  return {
    "file": file,
    "patient_id": patient,
    "split": _nih_split(patient),
    "view": cells["View Position"],
    "sex": cells["Patient Gender"],
    "age": cells["Patient Age"].rstrip("Y"),
    **{name: int(name in found) for name in LABEL_NAMES},
    ANY_FINDING: int(found != ["No Finding"]),
  }


def _nih_split(patient: str) -> str:
  """The same for a patient in every set."""
  digest = hashlib.sha256(patient.encode()).digest()
  place = int.from_bytes(digest[:4], "big") / 2**32
  return next(name for name, end in _NIH_SHARES.items() if place < end)


def _unpack(source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """Turns images.npz into PNG files, beside the table."""
  folder.mkdir(exist_ok=True)
  (folder / "labels.csv").write_text((source / "labels.csv").read_text())
  with np.load(source / "images.npz") as file:
    for name, pixels in zip(file["image_index"], file["images"], strict=True):
      if not (folder / str(name)).is_file():
        Image.fromarray(pixels).save(folder / str(name))
  return folder


def _read(path: pathlib.Path) -> Iterator[dict[str, str]]:
  with path.open(newline="") as stream:
    yield from csv.DictReader(stream)


_TABLES = {
  "pediatric_pneumonia": _pediatric,
  "nih_cxr14": _nih_cxr14,
  "nih_tiny64": _nih_tiny64,
}


if __name__ == "__main__":
  main()
