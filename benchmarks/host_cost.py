"""Processor time of the host for one training film, read from prepared shards.

  python -m benchmarks.host_cost --data_dir=DIR --dataset=NAME

The reference implementation decodes and makes ten crops on the host: 87 ms of
one core from a film of 1024 pixels, 250 ms from a full-size one. Here the host
reads, decodes, equalises and places the film on its canvas; the crops are made
on the device. Aim: at most 5 ms for a film of 1024 pixels.
"""

import json
import time

import numpy as np
from absl import app, flags, logging

from scan42_jax.data import pipeline

_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Folder of the prepared datasets.", required=True
)
_DATASET = flags.DEFINE_list("dataset", None, "Datasets.", required=True)
_SPLIT = flags.DEFINE_string("split", "train", "Split to read.")
_CANVAS_PX = flags.DEFINE_integer("canvas_px", 1280, "Side of the canvas.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Films in a batch.")
_STEPS = flags.DEFINE_integer("steps", 20, "Batches of each repetition.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 5, "The best one counts.")
_EQUALIZE = flags.DEFINE_bool("equalize", True, "Equalise histograms.")
_NUM_THREADS = flags.DEFINE_integer("num_threads", 2, "Threads.")

REFERENCE_MS = {"1024 px": 87.0, "full size": 250.0}


def measure(films, steps: int) -> tuple[float, float]:
  """Returns processor and wall time of one film, in milliseconds."""
  processor, wall = time.process_time(), time.perf_counter()
  count = sum(next(films).pixels.shape[0] for _ in range(steps))
  processor, wall = time.process_time() - processor, time.perf_counter() - wall
  return 1e3 * processor / count, 1e3 * wall / count


def main(argv: list[str]) -> None:
  """Measures and prints one JSON object."""
  del argv
  logging.set_verbosity(logging.WARNING)
  sources = [
    pipeline.open_films(_DATA_DIR.value, name, _SPLIT.value)
    for name in _DATASET.value
  ]
  films = pipeline.training_films(
    sources,
    canvas_px=_CANVAS_PX.value,
    batch_size=_BATCH_SIZE.value,
    seed=0,
    equalize=_EQUALIZE.value,
    num_threads=_NUM_THREADS.value,
  )
  first = next(films)  # Also the warm-up.
  times = [measure(films, _STEPS.value) for _ in range(_REPETITIONS.value)]
  films.close()
  processor, wall = np.array(times).T
  print(
    json.dumps(
      {
        "host_ms_per_film": round(processor.min(), 2),
        "median_host_ms_per_film": round(float(np.median(processor)), 2),
        "wall_ms_per_film": round(wall.min(), 2),
        "median_height_px": int(np.median(first.height)),
        "median_width_px": int(np.median(first.width)),
        "reference_ms_per_film": REFERENCE_MS,
      }
    )
  )


if __name__ == "__main__":
  app.run(main)
