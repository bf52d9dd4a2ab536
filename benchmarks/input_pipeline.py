"""Films delivered to the device for one core, beside crops made by PIL.

  python -m benchmarks.input_pipeline --data_dir=DIR --dataset=NAME

Ours reads, decodes, equalises and places a film; its crops are the device's
work and are timed by pretrain_step.py. The peer does what a torchvision-style
loader does with the same stored JPEG: decodes to RGB and makes 2 + 8 crops on
the host. Both take turns on one thread; medians and the ratio are JSON.
"""

import json
import statistics
import time

import jax
from absl import app, flags, logging

from benchmarks.peers.pil_crops import pil_crops
from scan42_jax.data import pipeline

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Data.", required=True)
_DATASET = flags.DEFINE_string("dataset", None, "Its name.", required=True)
_CANVAS_PX = flags.DEFINE_integer("canvas_px", 1280, "Side of the canvas.")
_FILMS = flags.DEFINE_integer("films", 32, "Films of a round.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds of each.")


def main(argv: list[str]) -> None:
  """Times both and prints one JSON object."""
  del argv
  logging.set_verbosity(logging.WARNING)
  source = pipeline.open_films(_DATA_DIR.value, _DATASET.value, "train")
  films = pipeline.training_films(
    [source],
    canvas_px=_CANVAS_PX.value,
    batch_size=_FILMS.value,
    seed=0,
    equalize=True,
    num_threads=0,
  )
  stored = [source[i % len(source)]["image"] for i in range(_FILMS.value)]

  def ours() -> None:
    jax.block_until_ready(jax.device_put(next(films)))

  def peer() -> None:
    for encoded in stored:
      pil_crops(encoded)

  ours(), pil_crops(stored[0])
  times = {"ours": [], "pil": []}
  for _ in range(_ROUNDS.value):
    for name, function in (("ours", ours), ("pil", peer)):
      start = time.perf_counter()
      function()
      times[name].append((time.perf_counter() - start) / _FILMS.value)
  films.close()
  medians = {name: statistics.median(values) for name, values in times.items()}
  print(
    json.dumps(
      {
        "ours_ms_per_film": round(1e3 * medians["ours"], 2),
        "ours_films_per_second_and_core": round(1 / medians["ours"], 1),
        "pil_ms_per_film": round(1e3 * medians["pil"], 2),
        "ratio": round(medians["pil"] / medians["ours"], 1),
      }
    )
  )


if __name__ == "__main__":
  app.run(main)
