"""The command `scan42` and what all binaries share: help, configs, mistakes."""

import os
import pathlib
import subprocess
import sys

import pytest

from scan42_jax import cli, command_line

ROOT = pathlib.Path(__file__).parents[1]
# What takes seconds to import, and what is no business of --help.
HEAVY = ("tensorflow_datasets", "orbax", "gradio", "grain", "pyarrow")


def _run(*words, cwd=ROOT):
  code = "from scan42_jax.cli import main; main()"
  return subprocess.run(
    [sys.executable, "-X", "importtime", "-c", code, *words],
    cwd=cwd,
    env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    capture_output=True,
    text=True,
    timeout=120,
  )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_is_short_clean_and_light(name):
  done = _run(*name.split(), "--help")
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  module, _ = cli.COMMANDS[name]
  assert f"python -m {module}" in done.stdout
  assert "Flags:" in lines and len(lines) < 75
  assert max(map(len, lines)) <= 80
  timed, other = [], []
  for line in done.stderr.splitlines():
    (timed if line.startswith("import time:") else other).append(line)
  assert not other  # No warning, no noise.
  imported = {line.split("|")[-1].strip().split(".")[0] for line in timed}
  assert not imported & set(HEAVY), imported & set(HEAVY)


def test_every_binary_has_a_command():
  binaries = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "scan42_jax").rglob("*.py")
    if "app.run(main" in path.read_text()
  }
  assert binaries == {module for module, _ in cli.COMMANDS.values()}


def test_words_that_name_nothing_end_in_one_line():
  done = _run("evil", "eye")
  errors = [x for x in done.stderr.splitlines() if "import time" not in x]
  assert done.returncode == 1
  assert len(errors) == 1 and "no command 'evil eye'" in errors[0]


def test_help_and_version_of_the_command_itself():
  done = _run("--help")
  assert done.returncode == 0 and "scan42 pretrain" in done.stdout
  assert _run("--version").stdout.count(".") == 2


@pytest.mark.parametrize("flag", [["--config=configs/vitb.py"], None])
def test_configs_are_found_from_anywhere(tmp_path, flag, monkeypatch):
  monkeypatch.chdir(tmp_path)
  flag = flag or ["--config", "configs/vitb.py"]
  assert command_line._with_config_found(["plan", *flag, "--devices=8"]) == [
    "plan",
    f"--config={ROOT / 'configs' / 'vitb.py'}",
    "--devices=8",
  ]
  # What lies here comes first.
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs" / "vitb.py").touch()
  found = command_line._with_config_found(["--config=configs/vitb.py:x"])
  assert found == ["--config=configs/vitb.py:x"]


def test_a_config_that_is_nowhere_is_named_with_those_that_are(tmp_path):
  done = _run("pretrain", "--config=configs/vitz.py", cwd=tmp_path)
  assert done.returncode == 1
  line = done.stderr.splitlines()[-1]
  assert line.startswith("error: configs/vitz.py: no such config file")
  assert "configs/vitb.py" in line and "configs/eval/rsna.py" in line


def test_a_flag_that_is_missing_is_named():
  done = _run("pretrain", "--config=configs/quickstart.py")
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1] == (
    "error: --workdir is missing, see --help"
  )


def test_a_missing_extra_is_named_before_any_work(tmp_path):
  (tmp_path / "tokenizers.py").write_text("raise ImportError\n")
  done = subprocess.run(
    [
      *(sys.executable, "-m", "scan42_jax.eval.report_generation"),
      *("--config=configs/eval/phantom_reports.py", "--encoder=nowhere"),
      f"--workdir={tmp_path / 'work'}",
    ],
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 1
  assert "pip install 'scan42-jax[reports]'" in done.stderr
  assert "nowhere" not in done.stderr
