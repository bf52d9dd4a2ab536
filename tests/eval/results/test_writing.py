"""What an evaluation leaves behind can be read by programs and by people."""

import json
import math

import numpy as np
import pytest

from scan42_jax.eval.results.writing import (
  Results,
  read_metrics,
  write_results,
)
from scan42_jax.pages.page import Figure, Table, markdown_table


def _results(**changes):
  values = {
    "title": "<run>",
    "row": {"dataset": "a|b", "AUROC": "0.5"},
    "metrics": {"task": "classification", "x": [math.nan, np.float32(1)]},
    "provenance": {"command": "python -m <x>", "seed": np.int64(3)},
    "tables": [Table("T <i>", ("a",), [("<script>",)], note="n & m")],
    "figures": [
      Figure("one", "caption <b>", svg="<svg></svg>"),
      Figure("two", "caption", png=b"\x89PNG"),
    ],
    "notes": ["<u>note</u>"],
  }
  return Results(**(values | changes))


def test_everything_is_written_and_escaped(tmp_path):
  write_results(tmp_path / "run", _results())
  page = (tmp_path / "run" / "report.html").read_text()
  for nasty in ("<script>", "<run>", "<i>", "<u>", "<b>"):
    assert nasty not in page
  assert "&lt;script&gt;" in page
  assert "http" not in page.replace("http://www.w3.org", "")
  metrics = read_metrics(tmp_path / "run")
  assert metrics["x"] == [None, 1.0]
  assert metrics["provenance"]["seed"] == 3
  assert (tmp_path / "run" / "results.md").read_text().splitlines() == [
    "| dataset | AUROC |",
    "| --- | --- |",
    "| a\\|b | 0.5 |",
  ]
  names = {f.name for f in (tmp_path / "run" / "figures").iterdir()}
  assert names == {"one.svg", "two.png"}
  json.loads((tmp_path / "run" / "metrics.json").read_text())


def test_a_folder_without_results_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="no folder of a finished"):
    read_metrics(tmp_path)


def test_tables_as_markdown():
  table = Table("", ("a", "b"), [("1", "2")])
  assert markdown_table(table).splitlines()[2] == "| 1 | 2 |"
