"""Times the batched linear probe on features of many films.

  python -m benchmarks.linear_grid

Random features of ViT-S (or --width=768) in place of cached ones: the numbers
do not depend on what they are. Prints wall time, with compilation, and the
peak of the process's memory.
"""

import argparse
import resource
import time

import numpy as np

from scan42_jax.eval.heads import FeatureSet
from scan42_jax.eval.linear_grid import train_grid
from scan42_jax.eval.settings import LinearSettings


def main() -> None:
  """Trains the default grid and prints what it took."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--films", type=int, default=10_000)
  parser.add_argument("--width", type=int, default=384)
  parser.add_argument("--labels", type=int, default=14)
  parser.add_argument("--steps", type=int, default=LinearSettings().steps)
  arguments = parser.parse_args()
  settings = LinearSettings(steps=arguments.steps)
  rng = np.random.default_rng(0)
  shape = arguments.films, 5 * arguments.width
  features = rng.standard_normal(shape, np.float32)
  labels = rng.integers(0, 2, (arguments.films, arguments.labels))
  sets = [FeatureSet(n, m) for n in settings.layers for m in (False, True)]
  start = time.monotonic()
  grid = train_grid(
    features,
    labels.astype(np.float32),
    np.ones(labels.shape, bool),
    width=arguments.width,
    sets=sets,
    settings=settings,
  )
  seconds = time.monotonic() - start
  peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  print(
    f"{len(grid)} heads x {arguments.labels} labels on {arguments.films} films"
    f" of width {arguments.width}, {settings.steps} steps of"
    f" {settings.batch_size}: {seconds:.0f} s, peak memory {peak_gb:.1f} GB"
  )


if __name__ == "__main__":
  main()
