"""Every release and real sample through all commands of data/, and pretraining.

Each command runs as a user gives it. What is in the shards is checked by the
tests of each dataset.
"""

import json
import subprocess
import sys

import film_trees
import pytest
import runs
from release_trees import (
  brax,
  chexmask,
  chexpert,
  iu_xray,
  mimic_cxr,
  nih_cxr8,
  padchest,
  rsna_pneumonia,
  vindr_cxr,
)

PRETRAINING = ["chexpert", "mimic_cxr", "padchest", "nih_cxr8", "brax"]
TREES = {
  "chexpert": chexpert,
  "mimic_cxr": mimic_cxr,
  "padchest": padchest,
  "nih_cxr8": nih_cxr8,
  "brax": brax,
  "rsna_pneumonia": rsna_pneumonia,
  "vindr_cxr": vindr_cxr,
  "iu_xray": iu_xray,
}
REAL = {
  "nih_cxr8": "nih_cxr14/official_layout",
  "iu_xray": "openi_reports",
  "dicom": "dicom",
  "covid_cxr": "covid_cxr/images",
  "nih_cxr14": "nih_cxr14/images_518",
  "pediatric_pneumonia": "pediatric_pneumonia/images",
  "odd_images": "odd_images",
}


def _run(module, *flags):
  """Runs a command; a fault of the data is allowed, a crash is not."""
  done = subprocess.run(
    [sys.executable, "-m", f"scan42_jax.data.{module}", *flags],
    capture_output=True,
    text=True,
    timeout=300,
    env=film_trees.environment(),
  )
  assert "Traceback" not in done.stderr, done.stderr
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


def _prepare(name, source, data_dir, *flags):
  _run(
    "prepare",
    f"--dataset={name if name in (*TREES, 'chexmask') else 'folder'}",
    f"--name={name}",
    f"--source={source}",
    f"--data_dir={data_dir}",
    "--workers=1",
    "--max_broken_percent=100",
    *flags,
  )


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
  """All nine releases in miniature, prepared."""
  root = tmp_path_factory.mktemp("generated")
  for seed, (name, tree) in enumerate(TREES.items()):
    tree.make_tree(root / name, seed=seed, num_patients=12)
    _prepare(name, root / name, root / "data", "--holdout_percent=20")
  table = chexmask.make_tree(
    root / "chexmask", seed=9, num_patients=12, table="VinDr-CXR"
  )
  _prepare(
    "chexmask",
    root / "chexmask/films",
    root / "data",
    f"--labels_csv={table}",
  )
  return root / "data"


def _describe_all(data_dir, names, tmp_path):
  for name in names:
    page = tmp_path / f"{name}.html"
    said = _run(
      "describe",
      f"--data_dir={data_dir}",
      f"--dataset={name}",
      f"--html={page}",
      "--thumbnails=2",
    )
    (manifest,) = data_dir.glob(f"{name}/*/manifest.json")
    films = json.loads(manifest.read_text())["films"]
    assert str(sum(films.values())) in said.replace(",", "")
    assert "<img" in page.read_text()


def test_generated_releases_are_verified_and_described(generated, tmp_path):
  names = [*TREES, "chexmask"]
  said = _run("verify", f"--data_dir={generated}")
  assert all(name in said for name in names)
  _describe_all(generated, names, tmp_path)


def test_pretraining_on_all_five_leaves_shared_films_out(generated, tmp_path):
  _run(
    "leakage",
    f"--data_dir={generated}",
    f"--pretraining={','.join(PRETRAINING)}",
    "--evaluation=rsna_pneumonia,vindr_cxr,iu_xray,chexmask",
    f"--output={tmp_path / 'leakage'}",
  )
  done = runs.run(
    tmp_path / "run",
    generated,
    f"--config.data.datasets={tuple(PRETRAINING)!r}",
    "--config.data.weights=(3,3,1,1,1)",
    "--config.data.exclusions=('leakage',)",
    "--config.schedule.total_steps=20",
  )
  assert done.returncode == 0, done.stderr
  rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").open()]
  assert [row["step"] for row in rows] == list(range(1, 21))
  assert all(f"epoch/{name}" in rows[-1] for name in PRETRAINING)


def test_real_samples_through_every_command(real_data_dir, tmp_path):
  for name, folder in REAL.items():
    _prepare(name, real_data_dir / folder, tmp_path / "data", "--all_views")
  said = _run("verify", f"--data_dir={tmp_path / 'data'}")
  assert all(name in said for name in REAL)
  _describe_all(tmp_path / "data", REAL, tmp_path)
  # The same radiographs, as the release has them and as a folder.
  said = _run(
    "leakage",
    f"--data_dir={tmp_path / 'data'}",
    "--pretraining=nih_cxr14",
    "--pretraining_split=train",
    "--evaluation=nih_cxr8",
    f"--output={tmp_path / 'leakage'}",
  )
  assert "nih_cxr14" in said and "nih_cxr8" in said
