"""A wheel holds the program with its configs, and nothing else."""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement

import scan42_jax

ROOT = pathlib.Path(__file__).parents[1]
PARTS = ("scan42_jax", "configs")
FILES = (
  "pyproject.toml",
  "setup.py",
  "requirements.txt",
  "README.md",
  "LICENSE",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  setuptools = pytest.importorskip("setuptools", minversion="77")
  del setuptools
  folder = tmp_path_factory.mktemp("source")
  clean = shutil.ignore_patterns("__pycache__")
  for name in PARTS:
    shutil.copytree(ROOT / name, folder / name, ignore=clean)
  for name in FILES:
    shutil.copy(ROOT / name, folder / name)
  code = "from setuptools import build_meta; build_meta.build_wheel('dist')"
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=folder,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  (path,) = (folder / "dist").glob("*.whl")
  return path


def test_the_wheel_holds_package_and_configs(wheel):
  assert scan42_jax.__version__ in wheel.name
  with zipfile.ZipFile(wheel) as archive:
    names = set(archive.namelist())
    (entry,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "scan42 = scan42_jax.cli:main" in archive.read(entry).decode()
  expected = {
    str(path.relative_to(ROOT)) for path in (ROOT / "scan42_jax").rglob("*.py")
  } | {
    f"scan42_jax/{path.relative_to(ROOT)}"
    for path in (ROOT / "configs").rglob("*.py")
  }
  assert {name for name in names if name.endswith(".py")} == expected
  tops = {name.split("/")[0] for name in names}
  assert len(tops) == 2  # The package, and what is said of it.


def test_an_installed_config_is_found_from_anywhere(wheel, tmp_path):
  site = tmp_path / "site"
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(site)
  code = "from scan42_jax.cli import main; main()"
  done = subprocess.run(
    [sys.executable, "-c", code, "plan", "--config=configs/quickstart.py"],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(site)},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert "it fits" in done.stdout and not done.stderr


def test_extras_and_what_they_are_for():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  extras = project["optional-dependencies"]
  wanted = {"gpu", "tpu", "beam", "launch", "reports", "demo", "docs", "dev"}
  assert wanted <= extras.keys()
  told = (ROOT / "docs" / "start.md").read_text()
  for name in wanted - {"docs"}:
    assert f"'.[{name}]'" in told
  for lines in extras.values():
    for line in lines:
      Requirement(line)  # Raises if it is none.


def test_the_changelog_knows_this_version():
  text = (ROOT / "CHANGELOG.md").read_text()
  assert f"## {scan42_jax.__version__}" in text
