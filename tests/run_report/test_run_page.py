"""The page of a run and of several, made of work folders alone."""

import json
import re

import pytest
import tiny

from scan42_jax.run_report.environment import write_environment
from scan42_jax.run_report.figures import chart_sections
from scan42_jax.run_report.page import render_run
from scan42_jax.run_report.story import read_story
from scan42_jax.run_report.writing import RunReport, write_report
from scan42_jax.settings import to_json


def _workdir(folder, *, steps, **fields):
  folder.mkdir()
  config = to_json(tiny.settings(**fields))
  (folder / "config.json").write_text(json.dumps(config))
  with (folder / "metrics.jsonl").open("w") as file:
    for step in steps:
      print(
        json.dumps({"step": step, "loss": 9 - step, "ibot": None}), file=file
      )
      row = {"step": step, "held_out/knn_auroc": 0.5 + step / 100}
      print(json.dumps(row), file=file)
  return folder


def _captions(page):
  return re.findall(r"<figcaption>(.*?)</figcaption>", page)


def test_a_page_shows_what_was_logged_and_asks_for_nothing(tmp_path):
  workdir = _workdir(tmp_path / "run", steps=[2, 4])
  write_report([workdir], workdir / "report.html")
  page = (workdir / "report.html").read_text()
  captions = _captions(page)
  assert any("k-NN" in caption for caption in captions)
  assert any("Learning rate" in caption for caption in captions)
  # No value of it was finite.
  assert not any("iBOT" in caption for caption in captions)
  assert "step 4 of 8" in page
  outside = page.replace("http://www.w3.org/2000/svg", "")
  assert not re.search(r"https?://|<script|src=\"(?!data:)", outside)


def test_a_browser_reloads_until_the_last_step(tmp_path):
  going = _workdir(tmp_path / "going", steps=[4])
  done = _workdir(tmp_path / "done", steps=[4, 8])
  assert 'http-equiv="refresh"' in render_run(read_story(going))
  assert 'http-equiv="refresh"' not in render_run(read_story(done))


def test_settings_are_told_against_the_config_file(tmp_path):
  workdir = _workdir(tmp_path / "run", steps=[1], seed=7)
  base = to_json(tiny.settings())
  write_environment(
    workdir, command=["scan42", "--x=<b>"], base_name="tiny.py", base=base
  )
  page = render_run(read_story(workdir))
  part = page.split("Settings that differ from tiny.py")[1]
  part = part.split("All settings")[0]
  assert "<td>seed</td><td>0</td><td>7</td>" in part
  assert part.count("<tr>") == 2  # Its head, and this row.
  assert "--x=&lt;b&gt;" in page and "<b>" not in page


def test_runs_are_compared_line_by_line(tmp_path):
  first = _workdir(tmp_path / "first", steps=[2, 8])
  (tmp_path / "other").mkdir()
  second = _workdir(
    tmp_path / "other" / "first", steps=[2], **{"schedule.total_steps": 16}
  )
  write_report([first, second], tmp_path / "page.html")
  page = (tmp_path / "page.html").read_text()
  assert "<td>schedule.total_steps</td><td>8</td><td>16</td>" in page
  # Folders of one name are told apart by their paths.
  assert str(first) in page and str(second) in page
  sections = chart_sections(
    {"a": {"loss": [(1, 2.0)]}, "b": {"loss": [(1, 3.0)]}, "c": {}},
    {},
    total_steps=4,
  )
  (figure,) = sections[0].figures
  assert ">a</text>" in figure.svg and ">b</text>" in figure.svg
  assert ">c</text>" not in figure.svg


def test_a_folder_without_a_run_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=str(tmp_path)):
    read_story(tmp_path)
  (tmp_path / "config.json").write_text('{"model_type": "vit"}')
  with pytest.raises(ValueError, match="of a pretraining run"):
    read_story(tmp_path)


def test_configs_of_older_versions_are_shown(tmp_path):
  workdir = _workdir(tmp_path / "run", steps=[1])
  config = json.loads((workdir / "config.json").read_text())
  config["forgotten"] = 1
  del config["drift"]
  (workdir / "config.json").write_text(json.dumps(config))
  page = render_run(read_story(workdir))
  assert "<td>forgotten</td><td>(absent)</td><td>1</td>" in page
  assert any("Learning rate" in caption for caption in _captions(page))


def test_the_page_is_there_from_the_first_step(tmp_path):
  workdir = _workdir(tmp_path / "run", steps=[])
  said = []
  settings = tiny.settings(**{"loop.report_films": 2})
  report = RunReport(workdir, settings, active=True, say=said.append)
  report.see(tiny.films(settings))
  crops = (workdir / "pictures" / "crops.png").read_bytes()
  report.see(tiny.films(settings, step=1))
  assert (workdir / "pictures" / "crops.png").read_bytes() == crops
  report.close()
  assert "step 0 of 8" in (workdir / "report.html").read_text()
  assert not said


def test_a_page_that_cannot_be_written_ends_no_run(tmp_path):
  said = []
  report = RunReport(
    tmp_path / "gone", tiny.settings(), active=True, say=said.append
  )
  report.see(tiny.films(tiny.settings()))
  report.refresh()
  report.close()
  assert said and all("report.html was not written" in line for line in said)


def test_other_processes_write_nothing(tmp_path):
  workdir = _workdir(tmp_path / "run", steps=[1])
  settings = tiny.settings(**{"loop.report_films": 2})
  report = RunReport(workdir, settings, active=False, say=print)
  report.see(tiny.films(settings))
  report.refresh()
  report.close()
  assert not (workdir / "report.html").exists()
  assert not (workdir / "pictures").exists()
