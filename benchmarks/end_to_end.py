"""A whole training run beside its step alone: what reading the data costs.

  python -m benchmarks.end_to_end --config=configs/quickstart.py \
    --data_dir=DIR --batches=4,16,64 --steps=40

Runs `scan42_jax.main` as a user does, from prepared shards to metrics, in a new
folder for each batch size. Prints as JSON the films per second and the share of
the time that the step waited for films, medians over the lines that the run
logged after its first. The same run's step alone, with no reading, is timed by
pretrain_step.py. With --peer_python, an interpreter with torch, transformers
and Pillow, the plain PyTorch step follows on the same stored films, whose crops
a process beside it makes by PIL.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from benchmarks.peers.torch_peer import TorchStep
from scan42_jax.data import pipeline
from scan42_jax.settings import Settings, from_json

_EVERY = 5  # Steps between lines of the log.
_PEER_FILMS = 256  # That it goes round in.


def arguments() -> tuple[argparse.Namespace, list[str]]:
  """Reads the command line; what is not ours goes to the run."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--config", default="configs/quickstart.py")
  parser.add_argument("--data_dir", required=True)
  parser.add_argument("--batches", default="4,16,64")
  parser.add_argument("--steps", type=int, default=40)
  parser.add_argument("--peer_python", help="interpreter with torch")
  return parser.parse_known_args()


def measure(
  a: argparse.Namespace, batch: int, further: list[str]
) -> dict[str, object]:
  """Runs once and reads what the run logged."""
  with tempfile.TemporaryDirectory() as workdir:
    command = [
      *(sys.executable, "-m", "scan42_jax.main", f"--config={a.config}"),
      *(f"--workdir={workdir}", f"--data_dir={a.data_dir}"),
      f"--config.batch_size={batch}",
      f"--config.masks.group_images={batch}",
      f"--config.objective.koleo_group={batch}",
      f"--config.schedule.total_steps={a.steps}",
      f"--config.loop.log_every={_EVERY}",
      f"--config.loop.checkpoint_every={a.steps}",
      f"--config.loop.monitor_every={a.steps}",
      "--config.loop.linear_probe=False",
      *further,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
    config = (pathlib.Path(workdir) / "config.json").read_text()
  rows = [row for row in map(json.loads, lines) if "data_wait" in row][1:]
  rate = statistics.median(row["images_per_second"] for row in rows)
  beside = {}
  if a.peer_python:
    theirs = peer_rate(a, from_json(json.loads(config)))
    beside = {
      "peer_images_per_second": round(theirs, 2),
      "ours_is_faster_by": round(rate / theirs, 3),
    }
  return {
    "batch": batch,
    "steps": a.steps,
    "images_per_second": round(rate, 2),
    **beside,
    "data_wait": round(statistics.median(row["data_wait"] for row in rows), 4),
    "largest_data_wait": round(max(row["data_wait"] for row in rows), 4),
  }


def peer_rate(a: argparse.Namespace, settings: Settings) -> float:
  """Returns films per second of PyTorch and PIL, the median of as many rounds.

  Raises:
    ValueError: no such dataset in the data folder.
  """
  source = pipeline.open_films(a.data_dir, settings.data.datasets[0], "train")
  with tempfile.TemporaryDirectory() as folder:
    for i in range(min(_PEER_FILMS, len(source))):
      (pathlib.Path(folder) / f"{i:04}").write_bytes(source[i]["image"])
    peer = TorchStep(a.peer_python, settings, {"films": folder})
    peer.seconds(_EVERY)
    rounds = [
      peer.seconds(_EVERY) for _ in range(max(1, a.steps // _EVERY - 1))
    ]
    peer.close()
  return _EVERY * settings.batch_size / statistics.median(rounds)


def main() -> None:
  """Prints one JSON object for each batch size."""
  a, further = arguments()
  for batch in a.batches.split(","):
    print(json.dumps(measure(a, int(batch), further)), flush=True)


if __name__ == "__main__":
  main()
