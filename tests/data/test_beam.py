"""Reading on Apache Beam gives the shards of a run without it, kill or not."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

import film_trees
import pytest

from scan42_jax.data import beam, records
from scan42_jax.data.beam import BeamSettings
from scan42_jax.datasets.reading import Reading, Row

LOCAL = BeamSettings(runner="FnApiRunner")


def _shards(folder):
  return {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.glob("folder/*/*array_record*"))
  }


def _tree(folder, count):
  """Films of which one is cut."""
  film = film_trees.write_film(
    folder / "000.png", seed=0, height=700, width=600
  )
  for i in range(1, count):
    shutil.copy(film, folder / f"{i:03d}.png")
  (folder / "007.png").write_bytes(film.read_bytes()[:100])
  return folder


def test_without_beam_a_line_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(ValueError, match=r"pip install 'scan42-jax\[beam\]'"):
    film_trees.prepare(
      _tree(tmp_path / "raw", 9), tmp_path / "data", beam=LOCAL
    )


def _name_only(row, fingerprint):
  return Reading(file=row.file, fingerprint=fingerprint)


def test_a_chunk_read_twice_is_there_once(tmp_path):
  jobs = [(Row(file=f"{i}.png"), "print") for i in range(130)]
  for name in ("jobs", "journal", "broken"):
    (tmp_path / name).mkdir()
  names = beam._write_jobs(tmp_path / "jobs", jobs)
  assert len(names) == 3
  for name in [*names, names[0], names[2]]:
    beam._read_chunk(_name_only, tmp_path, name)
  found = [r.file for r, _ in records.Journal(tmp_path / "journal").readings()]
  assert sorted(found) == sorted(row.file for row, _ in jobs)


def test_beam_gives_the_same_shards(tmp_path):
  pytest.importorskip("apache_beam")
  source = _tree(tmp_path / "raw", 150)
  film_trees.prepare(source, tmp_path / "plain")
  manifest, said = film_trees.prepare(source, tmp_path / "beam", beam=LOCAL)
  assert _shards(tmp_path / "beam") == _shards(tmp_path / "plain")
  assert manifest["quarantined"] == 1 and "FnApiRunner" in said[0]
  quarantine = "folder/*/quarantine.csv"
  (theirs,), (ours,) = (
    [path.read_text() for path in (tmp_path / name).glob(quarantine)]
    for name in ("plain", "beam")
  )
  assert theirs == ours and "007.png" in ours
  _, said = film_trees.prepare(source, tmp_path / "beam", beam=LOCAL)
  assert "1 films to read" in said[0] and "nothing changed" in said[-1]


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc")
def test_a_killed_worker_loses_and_doubles_nothing(tmp_path):
  pytest.importorskip("apache_beam")
  source = _tree(tmp_path / "raw", 700)
  command = film_trees.prepare_command(
    "--dataset=folder",
    f"--source={source}",
    f"--data_dir={tmp_path / 'beam'}",
    "--beam_runner=FnApiRunner",
    "--beam_option=direct_num_workers=2",
    "--beam_option=direct_running_mode=multi_processing",
  )
  quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
  process = subprocess.Popen(command, **quiet, env=film_trees.environment())
  journal = tmp_path / "beam/folder/partial/journal"
  while len(list(journal.glob("*.chunk"))) < 2:
    assert process.poll() is None
    time.sleep(0.02)
  team = film_trees.descendants(process.pid)
  os.kill(team[-1], signal.SIGKILL)  # A worker, below its shell.
  time.sleep(0.5)
  # Beam's local runner waits for ever for a worker that is gone.
  for pid in [process.pid, *team[:-1]]:
    with contextlib.suppress(ProcessLookupError):
      os.kill(pid, signal.SIGKILL)
  process.wait()
  kept = sum(1 for _ in records.Journal(journal).readings())
  assert 0 < kept < 699
  again = subprocess.run(
    film_trees.prepare_command(*command[3:]),
    capture_output=True,
    text=True,
    env=film_trees.environment(),
  )
  assert again.returncode == 0, again.stderr
  assert f"{700 - kept} films to read" in again.stdout
  film_trees.prepare(source, tmp_path / "plain", num_workers=2)
  assert _shards(tmp_path / "beam") == _shards(tmp_path / "plain")
