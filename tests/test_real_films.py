"""Real films, from their folders to a checkpoint, through stops and kills."""

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import runs
from PIL import Image

from scan42_jax.data.images import decode_film, shrink
from scan42_jax.data.sources import open_films

SETS = {
  "dicom": ["reference/*"],
  "covid_cxr": ["masks_*", "original_size/*"],
  "pediatric_pneumonia": [],
  "nih_cxr14": ["official_layout/*"],
  "odd_images": [],
}


@pytest.fixture(scope="module")
def prepared(real_data_dir, tmp_path_factory):
  """All sets, each prepared by the command under its own name."""
  data_dir = tmp_path_factory.mktemp("real")
  for name, excluded in SETS.items():
    done = subprocess.run(
      [
        sys.executable,
        "-m",
        "scan42_jax.data.prepare",
        "--dataset=folder",
        f"--name={name}",
        f"--source={real_data_dir / name}",
        f"--data_dir={data_dir}",
        *[f"--exclude={glob}" for glob in excluded],
      ],
      cwd=runs.ROOT,
      env=runs.environment(),
      capture_output=True,
      text=True,
    )
    assert done.returncode == 0, done.stderr
  return data_dir


def _rows(path):
  with path.open(newline="") as stream:
    return list(csv.DictReader(stream))


def _dataset_file(data_dir, name, file):
  (path,) = data_dir.glob(f"{name}/*/{file}")
  return path


def _films(data_dir, name):
  """Stored films by the file they came from."""
  by_id = {}
  manifest = json.loads(
    _dataset_file(data_dir, name, "manifest.json").read_text()
  )
  for split, count in manifest["films"].items():
    if count:
      for example in open_films(data_dir, name, split):
        by_id[example["image_id"]] = example["image"]
  rows = _rows(_dataset_file(data_dir, name, "films.csv"))
  return {r["file"]: by_id[r["image_id"]] for r in rows if not r["refused"]}


def test_every_dicom_ends_as_expected(prepared, real_data_dir):
  films = _films(prepared, "dicom")
  quarantined = {
    row["file"]
    for row in _rows(_dataset_file(prepared, "dicom", "quarantine.csv"))
  }
  for row in _rows(real_data_dir / "dicom" / "manifest.csv"):
    if row["expected"] == "error":
      assert row["file"] in quarantined
      continue
    film = decode_film(films[row["file"]])
    reference = Image.open(real_data_dir / "dicom" / row["reference"])
    expected = np.asarray(reference.convert("L"))
    # Some references are smaller than their film, others larger.
    side = min(*film.shape, *expected.shape)
    film = shrink(film, short_side_px=side)
    expected = shrink(expected, short_side_px=side)
    assert film.shape == expected.shape, row["file"]
    likeness = np.corrcoef(film.ravel(), expected.ravel())[0, 1]
    assert likeness > 0.9, row["file"]  # Bones bright in both.


def test_only_broken_files_are_quarantined(prepared):
  broken = {
    (name, row["file"])
    for name in SETS
    for row in _rows(_dataset_file(prepared, name, "quarantine.csv"))
  }
  assert broken == {
    ("dicom", "derived/rg1_truncated.dcm"),
    ("odd_images", "truncated.jpg"),
  }


def test_pretraining_on_their_union_survives_a_stop_and_a_kill(
  prepared, golden_dir, tmp_path
):
  names = repr(tuple(SETS))
  flags = [
    f"--config.data.datasets={names}",
    f"--config.init_from={golden_dir / 'hf_dinov2_with_registers'}",
    "--config.schedule.total_steps=100",
    "--config.loop.checkpoint_every=20",
    "--config.data.canvas_px=128",
    "--config.data.equalize=True",
  ]
  code, lines = runs.run_until(
    "step 30/", signal.SIGTERM, tmp_path, prepared, *flags
  )
  assert code == 128 + signal.SIGTERM, lines
  code, lines = runs.run_until(
    "step 70/", signal.SIGKILL, tmp_path, prepared, *flags
  )
  assert code == -signal.SIGKILL
  assert any(line.startswith("resumed at step 3") for line in lines)
  done = runs.run(tmp_path, prepared, *flags)
  assert done.returncode == 0, done.stderr
  assert "resumed at step" in done.stdout
  metrics = [json.loads(x) for x in (tmp_path / "metrics.jsonl").open()]
  losses = {row["step"]: row["loss"] for row in metrics}
  assert sorted(losses) == list(range(1, 101))
  assert np.isfinite(list(losses.values())).all()
  config = json.loads((tmp_path / "config.json").read_text())
  assert config["model"]["width"] == 48  # Of the file, not of the config.
