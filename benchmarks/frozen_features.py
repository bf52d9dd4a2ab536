"""What frozen features cost: their extraction, and k-NN on them.

  python -m benchmarks.frozen_features --size=S --films=64

Extraction goes from JPEG films of 1,024 px to a finished Parquet file and is
compared with the encoder alone on pictures that are ready, in turns. k-NN lets
the 20 nearest of 10,000 films vote on 10,000 others; its peer is scikit-learn's
brute search by cosine with the same votes, in turns. Medians and ratios are
printed as JSON. Needs scikit-learn, of the extra [dev].
"""

import argparse
import functools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
from PIL import Image
from sklearn.neighbors import NearestNeighbors

import scan42_jax
from benchmarks.encoder import write_folder
from scan42_jax.extraction.extract import Extraction, extract
from scan42_jax.extraction.films import find_source
from scan42_jax.extraction.outputs import output_for
from scan42_jax.metrics.representation import neighbour_votes
from scan42_jax.models.vit import VIT_SHAPES

_FILM_PX = 1024
_NEIGHBOURS = 20
_TEMPERATURE = 0.07


def main() -> None:
  """Measures both and prints one JSON object."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--size", choices=VIT_SHAPES, default="S")
  parser.add_argument("--side", type=int, default=224, help="of crops, px")
  parser.add_argument("--films", type=int, default=64)
  parser.add_argument("--batch", type=int, default=16)
  parser.add_argument("--bank", type=int, default=10_000)
  parser.add_argument("--width", type=int, default=384, help="of k-NN features")
  parser.add_argument("--labels", type=int, default=14)
  parser.add_argument("--rounds", type=int, default=3)
  a = parser.parse_args()
  print(json.dumps({"extraction": time_extraction(a), "knn": time_knn(a)}))


def time_extraction(a: argparse.Namespace) -> dict[str, float]:
  """Times films to a file, and the encoder alone."""
  with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    folder = write_folder(scratch / "encoder", a.size).parent
    encoder = scan42_jax.load_encoder(folder).with_preprocessing(
      resize_px=a.side, crop_px=a.side
    )
    films = _write_films(scratch / "films", a.films)
    ready = np.zeros((a.films, a.side, a.side, 3), np.float32)
    outputs = (scratch / f"{i}.parquet" for i in range(a.rounds + 1))

    def whole():
      path = next(outputs)
      extract(
        Extraction(
          encoder=encoder,
          films=find_source(films),
          output=output_for(path),
          path=path,
          batch_size=a.batch,
        ),
        say=lambda line: None,
      )

    alone = functools.partial(encoder.encode, ready, batch_size=a.batch)
    seconds = _in_turns(whole, alone, a.rounds)
  return {
    "films_per_second": round(a.films / seconds[0], 2),
    "encoder_alone": round(a.films / seconds[1], 2),
    "share_of_encoder": round(seconds[1] / seconds[0], 3),
  }


def time_knn(a: argparse.Namespace) -> dict[str, float]:
  """Times votes of the nearest, and scikit-learn's."""
  rng = np.random.default_rng(0)
  bank, queries = rng.standard_normal((2, a.bank, a.width), np.float32)
  labels = rng.integers(0, 2, (a.bank, a.labels)).astype(np.float32)
  found = {}

  def ours():
    found["ours"] = neighbour_votes(
      queries,
      bank,
      labels=labels,
      valid=np.ones(labels.shape, bool),
      neighbours=_NEIGHBOURS,
      temperature=_TEMPERATURE,
    )

  def peer():
    search = NearestNeighbors(
      n_neighbors=_NEIGHBOURS, metric="cosine", algorithm="brute"
    ).fit(bank)
    distances, nearest = search.kneighbors(queries)
    votes = np.exp((1 - distances) / _TEMPERATURE)[..., None]
    found["peer"] = (votes * labels[nearest]).sum(1) / votes.sum(1)

  seconds = _in_turns(ours, peer, a.rounds)
  return {
    "seconds": round(seconds[0], 2),
    "scikit_learn_seconds": round(seconds[1], 2),
    "faster_by": round(seconds[1] / seconds[0], 3),
    "difference": float(np.abs(found["ours"] - found["peer"]).max()),
  }


def _write_films(folder: pathlib.Path, count: int) -> pathlib.Path:
  folder.mkdir()
  rng = np.random.default_rng(0)
  for i in range(count):
    low = Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8))
    film = low.resize((_FILM_PX, _FILM_PX), Image.Resampling.BICUBIC)
    film.save(folder / f"{i:04d}.jpg", quality=95)
  return folder


def _in_turns(
  ours: Callable[[], object], peer: Callable[[], object], rounds: int
) -> tuple[float, float]:
  """Returns median seconds of both; the first turn compiles."""
  times = []
  for _ in range(rounds + 1):
    start = time.perf_counter()
    ours()
    middle = time.perf_counter()
    peer()
    times.append((middle - start, time.perf_counter() - middle))
  first, second = zip(*times[1:], strict=True)
  return statistics.median(first), statistics.median(second)


if __name__ == "__main__":
  main()
