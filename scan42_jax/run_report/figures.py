"""Charts of runs: one metric each, a line for every run.

A page of one run and a comparison of many are the same charts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from scan42_jax.pages.charts import Line, line_chart, range_of
from scan42_jax.pages.page import Figure, Section
from scan42_jax.run_report.history import Series

_HEIGHT = 260


@dataclasses.dataclass(frozen=True)
class Chart:
  """How metrics are drawn.

  Attributes:
    title: caption.
    metrics: name in metrics.jsonl -> name in the legend; '' where it is alone.
      Of several runs the first alone is drawn.
    holds: values that the axis shows in any case.
    schedule: take the planned curves, not what was logged.
  """

  title: str
  metrics: Mapping[str, str]
  holds: tuple[float, ...] = ()
  schedule: bool = False


_CHARTS = {
  "Loss": [
    Chart("Loss: what is back-propagated, the sum of its terms", {"loss": ""}),
    Chart("DINO, local crops", {"dino_local": ""}),
    Chart("DINO, global crops", {"dino_global": ""}),
    Chart("iBOT, masked patches", {"ibot": ""}),
    Chart("KoLeo, spread of the class tokens", {"koleo": ""}),
    Chart("Entropy of the teacher's targets, nats", {"teacher_entropy": ""}),
    Chart(
      "Prototypes in use, share of the most possible",
      {"prototype_use": ""},
      holds=(0.0, 1.0),
    ),
  ],
  "Monitors on held-out films": [
    Chart(
      "k-NN, macro AUROC; 0.5 is chance",
      {"held_out/knn_auroc": ""},
      holds=(0.5,),
    ),
    Chart(
      "Directions that features use", {"held_out/effective_rank": ""}, (0.0,)
    ),
    Chart("Entropy of the teacher, nats", {"held_out/teacher_entropy": ""}),
    Chart(
      "Prototypes that films favour",
      {"held_out/prototype_use": ""},
      holds=(0.0, 1.0),
    ),
    Chart(
      "Likeness to the starting features, CKA",
      {"held_out/cka_to_start": ""},
      holds=(0.0, 1.0),
    ),
    Chart(
      "k-NN AUROC less that of the start",
      {"held_out/knn_gain": ""},
      holds=(0.0,),
    ),
  ],
  "Schedules": [
    Chart(
      "Learning rate, of what is frozen at first too",
      {
        "learning_rate": "all",
        "last_layer_learning_rate": "prototypes",
        "encoder_learning_rate": "encoder",
      },
      holds=(0.0,),
      schedule=True,
    ),
    Chart(
      "Teacher's temperature",
      {"teacher_temperature": ""},
      holds=(0.0,),
      schedule=True,
    ),
    Chart("Teacher's momentum", {"teacher_momentum": ""}, schedule=True),
    Chart("Weight decay", {"weight_decay": ""}, (0.0,), schedule=True),
  ],
  "Gradients and pace": [
    Chart(
      "Norm of the encoder's gradient, and the heads', before clipping",
      {
        "grad_norm_encoder": "encoder",
        "grad_norm_dino_head": "DINO head",
        "grad_norm_ibot_head": "iBOT head",
      },
      holds=(0.0,),
    ),
    Chart("Films a second, all devices", {"images_per_second": ""}, (0.0,)),
    Chart(
      "Share of the time that devices waited for data",
      {"data_wait": ""},
      holds=(0.0,),
    ),
    Chart("Useful arithmetic, TFLOP/s", {"model_tflop_per_second": ""}, (0.0,)),
    Chart("Share of the chips' peak", {"mfu": ""}, holds=(0.0,)),
  ],
}


def chart_sections(
  histories: Mapping[str, Mapping[str, Series]],
  schedules: Mapping[str, Mapping[str, Series]],
  *,
  total_steps: int,
) -> list[Section]:
  """Draws every chart that some run has numbers for.

  Args:
    histories: series of each run, by its name.
    schedules: planned curves of each run.
    total_steps: end of the axes.
  """
  sections = []
  for title, charts in _CHARTS.items():
    figures = []
    for chart in charts:
      sources = schedules if chart.schedule else histories
      figure = _draw(chart, sources, total_steps)
      figures += [figure] if figure else []
    if figures:
      sections.append(Section(title, figures=figures, small=True))
  return sections


def _draw(
  chart: Chart, sources: Mapping[str, Mapping[str, Series]], total_steps: int
) -> Figure | None:
  lines = _lines(chart, sources)
  if not lines:
    return None
  values = [value for line in lines for value in line.y]
  svg = line_chart(
    lines,
    x_label="step",
    y_label="",
    x_range=(0, max(total_steps, 1)),
    y_range=range_of(values, holds=chart.holds),
    height=_HEIGHT,
  )
  name = next(iter(chart.metrics)).replace("/", "_")
  return Figure(name, chart.title, svg=svg)


def _lines(
  chart: Chart, sources: Mapping[str, Mapping[str, Series]]
) -> Sequence[Line]:
  """One line for each run or, where there is one run, for each metric."""
  lines = []
  metrics = list(chart.metrics.items())[: 1 if len(sources) > 1 else None]
  for run, series in sources.items():
    for metric, metric_name in metrics:
      points = series.get(metric, ())
      if not points or not any(math.isfinite(v) for _, v in points):
        continue
      steps, values = zip(*points, strict=True)
      name = run if len(sources) > 1 else metric_name
      lines.append(Line(name, steps, values, marks=len(points) <= 30))
  return lines
