"""The training curve as a picture, drawn with Pillow alone."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from scan42_jax.run_report.history import Series

_PANELS = (
  ("loss", "training loss"),
  ("held_out/knn_auroc", "held-out k-NN, macro AUROC"),
)
_WIDTH, _HEIGHT = 800, 240  # Of one panel, pixels.
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 24, 34, 44  # Margins around its plot.
_SCALE = 3  # Drawn larger and shrunk, which smooths the lines.
_INK, _GRID, _LINE = (40, 44, 52), (224, 227, 232), (0, 92, 175)


def draw_curves(history: Mapping[str, Series]) -> bytes | None:
  """Draws loss and held-out AUROC over steps as PNG; None without any.

  Args:
    history: series by metric.
  """
  panels = [(title, history[k]) for k, title in _PANELS if history.get(k)]
  if not panels:
    return None
  steps = [step for _, series in panels for step, _ in series]
  size = (_WIDTH * _SCALE, _HEIGHT * len(panels) * _SCALE)
  picture = Image.new("RGB", size, "white")
  for row, (title, series) in enumerate(panels):
    panel = _Panel(picture, row, last_step=max(steps), series=series)
    panel.draw(title)
  stream = io.BytesIO()
  picture.resize(
    (_WIDTH, _HEIGHT * len(panels)), Image.Resampling.LANCZOS
  ).save(stream, "PNG", optimize=True)
  return stream.getvalue()


class _Panel:
  """One plot over the steps that all of them share."""

  def __init__(
    self,
    picture: Image.Image,
    row: int,
    *,
    last_step: int,
    series: Series,
  ):
    self._draw = ImageDraw.Draw(picture)
    self._font = ImageFont.load_default(size=14 * _SCALE)
    self._top = row * _HEIGHT + _TOP
    self._last_step, self._series = last_step, series
    values = [value for _, value in series]
    # A margin, so that no line runs along the frame.
    margin = 0.05 * (max(values) - min(values)) or 0.5 * abs(values[0]) or 1.0
    self._values = min(values) - margin, max(values) + margin

  def draw(self, title: str) -> None:
    """Draws ticks, axes and the line."""
    left, right = _LEFT, _WIDTH - _RIGHT
    bottom = self._top + _HEIGHT - _TOP - _BOTTOM
    for value in ticks(*self._values):
      y = self._y(value)
      self._rule((left, y), (right, y), _GRID)
      self._text((left - 8, y), f"{value:g}", "rm")
    for step in ticks(0, self._last_step):
      if step == round(step):
        x = self._x(step)
        self._rule((x, bottom), (x, bottom + 5), _INK)
        self._text((x, bottom + 8), f"{step:,.0f}", "mt")
    self._rule((left, self._top), (left, bottom), _INK)
    self._rule((left, bottom), (right, bottom), _INK)
    self._text((left, self._top - 10), title, "ls")
    self._text((right, _HEIGHT - 4 + self._top - _TOP), "step", "rs")
    self._plot()

  def _plot(self) -> None:
    points = [(self._x(step), self._y(value)) for step, value in self._series]
    for start, end in itertools.pairwise(points):
      self._rule(start, end, _LINE, width=2)
    if len(points) <= 40:
      for x, y in points:
        box = [(n + d) * _SCALE for d in (-3, 3) for n in (x, y)]
        self._draw.ellipse(box, fill=_LINE)

  def _x(self, step: float) -> float:
    share = step / max(self._last_step, 1)
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

  def _y(self, value: float) -> float:
    low, high = self._values
    height = _HEIGHT - _TOP - _BOTTOM
    return self._top + (high - value) / (high - low) * height

  def _rule(self, start, end, colour, *, width: int = 1) -> None:
    points = [n * _SCALE for n in (*start, *end)]
    self._draw.line(points, fill=colour, width=width * _SCALE)

  def _text(self, place, text: str, anchor: str) -> None:
    scaled = tuple(n * _SCALE for n in place)
    self._draw.text(scaled, text, fill=_INK, font=self._font, anchor=anchor)


def ticks(low: float, high: float, *, about: int = 5) -> Sequence[float]:
  """Returns round numbers in a range, 1, 2 or 5 times a power of ten apart."""
  if high <= low:
    return [low]
  rough = (high - low) / about
  power = 10.0 ** math.floor(math.log10(rough))
  step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
  first, last = math.ceil(low / step), math.floor(high / step)
  return [round(i * step, 12) for i in range(first, last + 1)]
