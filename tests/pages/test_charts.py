"""Charts are sound SVG whatever the numbers and names are."""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np

from scan42_jax.pages.charts import (
  Bar,
  Line,
  bar_chart,
  heat_table,
  line_chart,
)

NASTY = '<b>"Mass" & more</b>'


def _texts(svg):
  root = ElementTree.fromstring(svg)
  return [node.text for node in root.iter() if node.tag.endswith("text")]


def test_names_are_escaped():
  for svg in (
    line_chart([Line(NASTY, [0, 1], [0, 1])], x_label=NASTY, y_label="y"),
    bar_chart([Bar(NASTY, 0.5, 0.4, 0.6, NASTY)], label="AUROC"),
    heat_table(
      np.eye(2),
      row_names=[NASTY, "b"],
      column_names=["a", NASTY],
      row_title="truth",
      column_title="called",
    ),
  ):
    assert NASTY in _texts(svg)
    assert "<b>" not in svg


def test_what_is_undefined_is_not_drawn():
  svg = bar_chart([Bar("a", math.nan), Bar("b", 0.5)], label="AUROC")
  assert svg.count("<circle") == 1
  assert "nan" not in svg
  empty = line_chart([Line("a", [math.nan], [0.5])], x_label="x", y_label="y")
  assert "nan" not in empty


def test_long_curves_keep_their_ends():
  x = np.linspace(0, 1, 10_000)
  svg = line_chart([Line("", x, x)], x_label="x", y_label="y")
  path = next(p for p in svg.split("<path") if "L" in p and p.count("L") > 50)
  assert path.count("L") < 500
  short = line_chart([Line("", [0, 1], [0, 1])], x_label="x", y_label="y")
  ends = short.split('stroke-width="2"')[0].rsplit('d="M', 1)[1].split('"')[0]
  first, last = ends.split("L")
  assert f"M{first}L" in path
  assert f"L{last}" in path


def test_axes_have_round_ticks():
  svg = line_chart(
    [Line("", [0, 1], [0, 0.3])], x_label="x", y_label="y", y_range=(0, 0.3)
  )
  texts = _texts(svg)
  assert {"0", "0.05", "0.3"} <= set(texts)
