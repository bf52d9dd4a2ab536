"""The fault harness: a sample of it, and that it notices what is wrong."""

import os
import random

import pytest

from benchmarks import kills, soak


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("kills")


def test_a_killed_preparation_gives_the_same_shards(folder):
  task = kills.tasks(folder)[0]
  row = kills.trial(task, folder, random.Random(3))
  assert row["good"], row
  assert any("array_record" in name for name in task.results(_whole(folder)))


def _whole(folder):
  return folder / "prepare" / "whole"


def test_a_difference_is_noticed(folder):
  task = kills.tasks(folder)[0]
  kills.whole_run(task, folder)
  (films,) = _whole(folder).rglob("films.csv")
  films.write_text(films.read_text() + "one more\n")
  row = kills.trial(task, folder, random.Random(4))
  assert not row["good"] and row["differs"] == ["films.csv"]


def test_growth_is_measured_between_the_second_and_the_last_tenth():
  flat = [(50.0, 9)] * 10 + [(100.0, 9)] * 90
  assert soak.judge(flat)["memory_growth"] == 0
  growing = [(100.0 + i, 9 + i // 50) for i in range(100)]
  found = soak.judge(growing)
  assert found["memory_growth"] > 0.5
  assert found["most_open_files_late"] > found["most_open_files_early"]


def test_a_process_is_sampled_from_outside():
  memory, files = soak.sample(os.getpid())
  with open(os.devnull):
    assert soak.sample(os.getpid())[1] == files + 1
  assert memory > 10
