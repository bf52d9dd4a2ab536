"""Charts as inline SVG: lines, bars with intervals, a table of shades.

Colours of text and axes are those of the page, so a chart suits light and dark.
Every text is escaped. A chart knows numbers and names, not what they measure.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Iterable, Sequence

import numpy as np

PALETTE = (
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#8b6f47",
)
"""Told apart with all common kinds of colour vision (Okabe and Ito 2008)."""

_DASHES = ("", "7 4", "2 3")
_WIDTH, _HEIGHT = 440, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 14, 52
_BARS_PX = 320
_MOST_POINTS = 400


@dataclasses.dataclass(frozen=True)
class Line:
  """A named line.

  Attributes:
    name: in the legend; '' keeps the line out of it.
    x: from left to right.
    y: likewise.
    marks: draw the points as well.
  """

  name: str
  x: Sequence[float]
  y: Sequence[float]
  marks: bool = False


@dataclasses.dataclass(frozen=True)
class Bar:
  """A value with its interval; NaN draws nothing.

  Attributes:
    name: left of the bar.
    value: where the mark is.
    low: lower end of the interval.
    high: upper end of the interval.
    text: right of the bar.
  """

  name: str
  value: float
  low: float = math.nan
  high: float = math.nan
  text: str = ""


def line_chart(
  lines: Sequence[Line],
  *,
  x_label: str,
  y_label: str,
  x_range: tuple[float, float] = (0.0, 1.0),
  y_range: tuple[float, float] = (0.0, 1.0),
  diagonal: bool = False,
  height: int = _HEIGHT,
) -> str:
  """Draws lines over two linear axes.

  Args:
    lines: each in a colour and dash of its own.
    x_label: below the axis.
    y_label: left of the axis.
    x_range: ends of the axis.
    y_range: ends of the axis.
    diagonal: draw the line from corner to corner, as of a coin's ROC.
    height: of the drawing without its legend; it is 440 wide.
  """
  named = [line for line in lines if line.name]
  rows = math.ceil(len(named) / 2)
  bottom = height - _BOTTOM
  parts = [_axes((x_label, y_label), x_range, y_range, bottom=bottom)]
  if diagonal:
    parts.append(
      f'<path d="M{_LEFT} {bottom}L{_WIDTH - _RIGHT} {_TOP}" '
      'stroke="currentColor" stroke-opacity=".4" stroke-dasharray="4 4"/>'
    )
  for number, line in enumerate(lines):
    parts.append(_line(line, number, (x_range, y_range), bottom=bottom))
  for place, line in enumerate(named):
    x = 20 + place % 2 * (_WIDTH / 2 - 10)
    y = height + 14 + place // 2 * 20
    parts.append(
      f'<path d="M{x} {y - 4}h26" {_stroke(lines.index(line))}/>'
      + _text(x + 33, y, line.name)
    )
  return _svg(_WIDTH, height + 20 * rows + 6, parts, f"{y_label} by {x_label}")


def range_of(
  values: Iterable[float], *, holds: Sequence[float] = ()
) -> tuple[float, float]:
  """Returns the ends of an axis that shows all values, with a little room.

  Args:
    values: those that are not finite do not count.
    holds: what the axis shall show in any case, such as 0.
  """
  seen = [v for v in (*values, *holds) if math.isfinite(v)] or [0.0, 1.0]
  low, high = min(seen), max(seen)
  room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
  return (
    low if low in holds else low - room,
    high if high in holds and low != high else high + room,
  )


def bar_chart(
  bars: Sequence[Bar],
  *,
  label: str,
  value_range: tuple[float, float] = (0.0, 1.0),
  reference: float | None = None,
) -> str:
  """Draws values as dots with whiskers, one a row, the best for many labels.

  Args:
    bars: from top to bottom.
    label: of the axis.
    value_range: ends of the axis.
    reference: where a dashed line stands, as at chance.
  """
  left = 16 + _text_px([bar.name for bar in bars])
  right, row = left + _BARS_PX, 26
  width = right + 16 + _text_px([bar.text for bar in bars])
  bottom = 8 + row * len(bars)
  low, high = value_range

  def place(value: float) -> float:
    return left + (min(max(value, low), high) - low) / (high - low) * (
      right - left
    )

  parts = []
  for tick in _ticks(low, high):
    parts.append(
      f'<path d="M{place(tick):.1f} 4V{bottom}" stroke="currentColor" '
      'stroke-opacity=".15"/>'
      + _text(place(tick), bottom + 16, f"{tick:g}", anchor="middle")
    )
  if reference is not None:
    parts.append(
      f'<path d="M{place(reference):.1f} 4V{bottom}" stroke="currentColor" '
      'stroke-opacity=".6" stroke-dasharray="4 4"/>'
    )
  for number, bar in enumerate(bars):
    y = 8 + row * (number + 0.5)
    parts.append(_text(left - 8, y + 4, bar.name, anchor="end"))
    parts.append(_text(right + 8, y + 4, bar.text))
    if not math.isnan(bar.low + bar.high):
      parts.append(
        f'<path d="M{place(bar.low):.1f} {y}H{place(bar.high):.1f}" '
        f'stroke="{PALETTE[0]}" stroke-width="3" stroke-opacity=".5"/>'
      )
    if not math.isnan(bar.value):
      parts.append(
        f'<circle cx="{place(bar.value):.1f}" cy="{y}" r="5" '
        f'fill="{PALETTE[0]}"/>'
      )
  parts.append(_text((left + right) / 2, bottom + 36, label, anchor="middle"))
  return _svg(width, bottom + 46, parts, label)


def heat_table(
  values: np.ndarray,
  *,
  row_names: Sequence[str],
  column_names: Sequence[str],
  row_title: str,
  column_title: str,
) -> str:
  """Draws counts as shaded cells, shaded by their share of the row.

  Args:
    values: counts [rows, columns].
    row_names: of the rows.
    column_names: of the columns.
    row_title: what the rows are.
    column_title: what the columns are.
  """
  left = 34 + _text_px(row_names)
  cell = max(60.0, 14 + _text_px(column_names))
  shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
  parts = [_text(left, 18, column_title)]
  for column, name in enumerate(column_names):
    x = left + cell * (column + 0.5)
    parts.append(_text(x, 40, name, anchor="middle"))
  for row, name in enumerate(row_names):
    y = 50 + 40 * row
    parts.append(_text(left - 8, y + 24, name, anchor="end"))
    for column, count in enumerate(values[row]):
      parts.append(
        f'<rect x="{left + cell * column:.1f}" y="{y}" width="{cell - 3}" '
        f'height="37" rx="3" fill="{PALETTE[0]}" '
        f'fill-opacity="{0.06 + 0.5 * shares[row, column]:.2f}"/>'
        + _text(
          left + cell * (column + 0.5) - 1.5,
          y + 24,
          f"{count:g}",
          anchor="middle",
        )
      )
  height = 60 + 40 * len(row_names)
  parts.append(
    f'<g transform="rotate(-90 14 {height / 2})">'
    + _text(14, height / 2, row_title, anchor="middle")
    + "</g>"
  )
  width = left + max(cell * len(column_names), _text_px([column_title]))
  return _svg(width, height, parts, f"{row_title} by {column_title}")


def _axes(labels, x_range, y_range, *, bottom: float) -> str:
  right = _WIDTH - _RIGHT
  parts = [
    f'<rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" '
    f'height="{bottom - _TOP}" stroke="currentColor" stroke-opacity=".5"/>'
  ]
  for tick in _ticks(*x_range):
    x = _place_x(tick, x_range)
    parts.append(_grid(f"M{x:.1f} {_TOP}V{bottom}"))
    parts.append(_text(x, bottom + 18, f"{tick:g}", anchor="middle"))
  for tick in _ticks(*y_range):
    y = _place_y(tick, y_range, bottom)
    parts.append(_grid(f"M{_LEFT} {y:.1f}H{right}"))
    parts.append(_text(_LEFT - 7, y + 4, f"{tick:g}", anchor="end"))
  middle = (_TOP + bottom) / 2
  parts.append(
    _text((_LEFT + right) / 2, bottom + 38, labels[0], anchor="middle")
    + f'<g transform="rotate(-90 15 {middle})">'
    + _text(15, middle, labels[1], anchor="middle")
    + "</g>"
  )
  return "".join(parts)


def _grid(path: str) -> str:
  return f'<path d="{path}" stroke="currentColor" stroke-opacity=".12"/>'


def _line(line: Line, number: int, ranges, *, bottom: float) -> str:
  x, y = _thinned(line.x), _thinned(line.y)
  points = [
    (_place_x(a, ranges[0]), _place_y(b, ranges[1], bottom))
    for a, b in zip(x, y, strict=True)
    if not math.isnan(a + b)
  ]
  if not points:
    return ""
  path = "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
  marks = "".join(
    f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{_colour(number)}"/>'
    for a, b in points
    if line.marks
  )
  return f'<path d="M{path}" {_stroke(number)}/>{marks}'


def _thinned(values: Sequence[float]) -> np.ndarray:
  """Keeps as many points as a screen can show, both ends among them."""
  values = np.asarray(values, float)
  if len(values) <= _MOST_POINTS:
    return values
  return values[np.linspace(0, len(values) - 1, _MOST_POINTS).astype(int)]


def _place_x(value: float, ends: tuple[float, float]) -> float:
  share = (min(max(value, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])
  return _LEFT + share * (_WIDTH - _RIGHT - _LEFT)


def _place_y(value: float, ends: tuple[float, float], bottom: float) -> float:
  share = (min(max(value, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])
  return bottom - share * (bottom - _TOP)


def _ticks(low: float, high: float) -> list[float]:
  """Round numbers, four to eight of them."""
  rough = (high - low) / 5
  unit = 10.0 ** math.floor(math.log10(rough))
  step = min(
    (unit * f for f in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - rough)
  )
  first = math.ceil(low / step - 1e-9)
  last = math.floor(high / step + 1e-9)
  return [round(i * step, 10) for i in range(first, last + 1)]


def _stroke(number: int) -> str:
  dash = _DASHES[number // len(PALETTE) % len(_DASHES)]
  dashes = f' stroke-dasharray="{dash}"' if dash else ""
  return f'stroke="{_colour(number)}" stroke-width="2"{dashes}'


def _colour(number: int) -> str:
  return PALETTE[number % len(PALETTE)]


def _text_px(texts: Sequence[str]) -> float:
  """Width that the longest of the texts takes, about."""
  return 7.0 * max(map(len, texts), default=0)


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
  return (
    f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
    f"{html.escape(text)}</text>"
  )


def _svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
  return (
    f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
    f'viewBox="0 0 {width:.0f} {height:.0f}" '
    f'style="width:100%;max-width:{width:.0f}px;height:auto" '
    'font-family="system-ui,sans-serif" font-size="13" fill="none">'
    f"<title>{html.escape(title)}</title>"
    "<style>text{fill:currentColor}</style>"
    f"{''.join(parts)}</svg>"
  )
