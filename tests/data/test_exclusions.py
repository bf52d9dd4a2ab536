"""Lists of films to leave out: written, honoured, refused when they are old."""

import dataclasses

import film_trees
import pytest

from scan42_jax.data import exclusions, pipeline
from scan42_jax.data.exclusions import Exclusion


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """Eight training films."""
  root = tmp_path_factory.mktemp("exclusions")
  for i in range(8):
    film_trees.write_film(root / "raw" / f"{i}.png", seed=i)
  film_trees.prepare(
    root / "raw", root / "data", keep_ids=True, holdout_percent=0.0
  )
  return root / "data"


def _write(data_dir, name, edition, positions):
  films = [
    Exclusion(edition=edition, position=p, image_id=f"{p}", reason="twin")
    for p in positions
  ]
  path = exclusions.list_file(data_dir, name)
  exclusions.write_exclusions(path, [edition], films)


def test_listed_films_are_left_out(data_dir):
  every = pipeline.open_films(data_dir, "folder", "train")
  _write(data_dir, "first", every.edition, [0, 5])
  _write(data_dir, "second", every.edition, [5, 7])
  _write(data_dir, "none", every.edition, [])
  films = pipeline.open_films(
    data_dir, "folder", "train", excluded_by=("first", "second", "none")
  )
  assert (len(films), films.num_excluded) == (5, 3)
  assert [film["image_id"] for film in films] == [
    every[i]["image_id"] for i in (1, 2, 3, 4, 6)
  ]
  assert films.facts() == {
    "dataset": "folder",
    "split": "train",
    "manifest_sha256": every.manifest_sha256,
    "films": 5,
    "excluded": 3,
    "excluded_by": ["first", "second", "none"],
  }
  batches = pipeline.training_films(
    [films], canvas_px=64, batch_size=5, seed=0, equalize=False
  )
  (batch,) = [next(batches)]
  batches.close()
  sums = sorted(batch.pixels.sum((1, 2)).tolist())
  kept = pipeline.evaluation_films(
    films, canvas_px=64, equalize=False, batch_size=5
  )
  ((expected, _),) = kept
  assert sums == sorted(expected.pixels.sum((1, 2)).tolist())


def _other(edition, **changes):
  return dataclasses.replace(edition, **changes)


def test_lists_that_do_not_fit_are_refused(data_dir):
  edition = pipeline.open_films(data_dir, "folder", "train").edition
  _write(data_dir, "old", _other(edition, manifest_sha256="0" * 64), [1])
  _write(data_dir, "other", _other(edition, split="test"), [1])
  for name, error, message in [
    ("old", ValueError, "was made for other shards.*data.leakage"),
    ("other", ValueError, "does not cover: dataset folder, split train; run"),
    ("absent", FileNotFoundError, "absent.csv; make it with .*leakage"),
    ("../x", ValueError, "is not made of letters"),
  ]:
    with pytest.raises(error, match=message):
      pipeline.open_films(data_dir, "folder", "train", excluded_by=(name,))
