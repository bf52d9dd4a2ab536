"""Faults of prepared datasets: each is found, and a sound one has none."""

import json
import subprocess
import sys

import film_trees
import pytest

from scan42_jax.data import finished, images, verification


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
  """A dataset of three splits with masks of one film."""
  root = tmp_path_factory.mktemp("verify")
  rows = []
  for i in range(9):
    film_trees.write_film(root / "raw" / f"{i}.png", seed=i)
    split = ("train", "validation", "test")[i % 3]
    rows.append(
      {"file": f"{i}.png", "patient_id": f"p{i}", "split": split, "edema": 1}
    )
  table = film_trees.write_table(root / "labels.csv", rows)
  film_trees.prepare(
    root / "raw", root / "data", labels_csv=table, keep_ids=True
  )
  return root / "data"


@pytest.fixture
def folder(pristine, tmp_path):
  """A copy of its newest version, to be damaged."""
  subprocess.run(["cp", "-r", pristine / "folder", tmp_path], check=True)
  (version,) = (tmp_path / "folder").glob("[0-9]*")
  return version


def _verify(folder):
  return list(verification.verify(folder, num_workers=0))


def _run(data_dir, *arguments):
  command = [sys.executable, "-m", "scan42_jax.data.verify", *arguments]
  return subprocess.run(
    [*command, f"--data_dir={data_dir}"],
    capture_output=True,
    text=True,
    env=film_trees.environment(),
  )


def _shard(folder, split="train"):
  (shard,) = folder.glob(f"*-{split}.array_record*")
  return shard


def _edit_manifest(folder, change):
  path = folder / finished.MANIFEST
  manifest = json.loads(path.read_text())
  change(manifest)
  path.write_text(json.dumps(manifest))


def test_sound_dataset(folder):
  assert _verify(folder) == []
  done = _run(folder.parents[1], "--workers=2")
  assert (done.returncode, done.stdout) == (0, "folder: sound\n")


def test_missing_cut_flipped_and_foreign_shards(folder):
  _shard(folder, "train").unlink()
  cut = _shard(folder, "test")
  size = cut.stat().st_size
  cut.write_bytes(cut.read_bytes()[:-5])
  flipped = _shard(folder, "validation")
  content = bytearray(flipped.read_bytes())
  content[70_000] ^= 1
  flipped.write_bytes(content)
  foreign = folder / "folder-train.array_record-00007-of-00008"
  foreign.write_bytes(b"")
  faults = sorted(_verify(folder))
  assert [fault.split("/")[-1] for fault in faults] == [
    f"{cut.name} has {size - 5} bytes, not {size}",
    "folder-train.array_record-00000-of-00001 is missing",
    f"{foreign.name} is not in the manifest",
    f"{flipped.name} has another SHA-256 than the manifest says",
  ]
  done = _run(folder.parents[1], "folder", "--workers=0")
  assert done.returncode == 1
  assert len(done.stdout.splitlines()) == 4 and not done.stderr


def test_counts_and_films_csv(folder):
  def change(manifest):
    manifest["films"]["test"] += 1

  _edit_manifest(folder, change)
  films = (folder / "films.csv").read_text().splitlines()
  (folder / "films.csv").write_text("\n".join(films[:-1]) + "\n")
  faults = _verify(folder)
  assert len(faults) == 2
  assert faults[0].endswith("3 films of test, the manifest says 4")
  assert faults[1].endswith("is in the shards, not in films.csv")


def test_records_that_cannot_be_decoded_or_are_too_large(folder, monkeypatch):
  _edit_manifest(folder, lambda manifest: manifest.update(short_side_px=10))
  faults = _verify(folder)
  assert len(faults) == 9
  assert all("is 32 x 40 pixels, too large" in fault for fault in faults)

  def decode_film(encoded):
    raise images.RejectedFilm("damaged")

  monkeypatch.setattr(images, "decode_film", decode_film)
  faults = _verify(folder)
  assert len(faults) == 9
  assert all("has a faulty image: damaged" in fault for fault in faults)


def test_doubled_ids_and_patients_in_two_splits():
  reports = [
    verification.ShardReport(
      split=split, ids=[("i1", patient), (other, "")], faults=[]
    )
    for split, patient, other in (("train", "p", "a"), ("test", "p", "b"))
  ]
  assert list(verification._compare_ids(reports)) == [
    "image id i1 is there twice",
    "patient p is in train and in test",
  ]


def test_absent_things_are_named_in_one_line(folder, tmp_path):
  (folder / finished.MANIFEST).write_text("{")
  assert _verify(folder) == [f"{folder / 'manifest.json'} is absent, damaged "
                             "or empty"]  # fmt: skip
  for arguments, message in [
    (("--dataset=nih",), "verify: no dataset 'nih'"),
    ((), "verify: no prepared dataset in"),
  ]:
    done = _run(tmp_path / "empty", *arguments)
    assert done.returncode == 1 and done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
