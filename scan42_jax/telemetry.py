"""What a run says of itself: TensorBoard, metrics.jsonl, one progress line.

TensorBoard events go through `tensorboard`'s own writer: clu's metric writers
import TensorFlow, which this project does without. The only importer of clu.
"""

from __future__ import annotations

import json
import logging
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any, TextIO

import jax
from clu import metrics as clu_metrics
from clu import parameter_overview
from tensorboard.compat.proto import (
  event_pb2,
  summary_pb2,
  tensor_pb2,
  tensor_shape_pb2,
  types_pb2,
)
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from scan42_jax.types import Metrics, Params

logger = logging.getLogger(__name__)

# TensorBoard's text plugin takes a vector of texts and shows it as a column.
_ONE_TEXT = tensor_shape_pb2.TensorShapeProto(
  dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)]
)


class MetricWriter:
  """Writes scalars of a step to TensorBoard and to metrics.jsonl.

  Args:
    workdir: folder of both; lines are appended to what a resumed run left.
    active: whether this process writes; one of them should.
  """

  def __init__(self, workdir: pathlib.Path, *, active: bool = True):
    self._events = self._lines = None
    if active:
      self._events = EventFileWriter(str(workdir / "tensorboard"))
      self._lines = _open_to_append(workdir / "metrics.jsonl")

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes one JSON object per step; NaN and Inf become null there."""
    if self._events is None:
      return
    values = [
      summary_pb2.Summary.Value(tag=name, simple_value=value)
      for name, value in scalars.items()
    ]
    self._add(step, values)
    finite = {
      name: value if math.isfinite(value) else None
      for name, value in scalars.items()
    }
    print(json.dumps({"step": step, **finite}), file=self._lines, flush=True)

  def write_text(self, step: int, name: str, markdown: str) -> None:
    """Writes a text, which TensorBoard alone shows."""
    if self._events is None:
      return
    value = summary_pb2.Summary.Value(
      tag=name,
      metadata=summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text")
      ),
      tensor=tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        string_val=[markdown.encode()],
        tensor_shape=_ONE_TEXT,
      ),
    )
    self._add(step, [value])

  def close(self) -> None:
    """Flushes both files."""
    if self._events is not None:
      self._events.close()
      self._lines.close()

  def _add(self, step: int, values: list[summary_pb2.Summary.Value]) -> None:
    self._events.add_event(
      event_pb2.Event(
        step=step,
        wall_time=time.time(),
        summary=summary_pb2.Summary(value=values),
      )
    )


def _open_to_append(path: pathlib.Path) -> TextIO:
  """Opens a file of lines, after ending one that a killed writer left."""
  cut = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
  lines = path.open("a")
  if cut:
    print(file=lines, flush=True)
  return lines


class Progress:
  """Averages the metrics between two log lines and measures the pace.

  Args:
    total_steps: of the run.
    batch_size: films per step.
    start_step: where this process starts; time before it is not ours.
  """

  def __init__(self, total_steps: int, *, batch_size: int, start_step: int):
    self._total_steps = total_steps
    self._batch_size = batch_size
    self._last_step = start_step
    self._last_time = time.monotonic()
    self._waited = 0.0
    self._steps: list[Metrics] = []
    self._compiled = False

  def add(self, step: int, metrics: Metrics, *, waited_s: float) -> None:
    """Takes one step's metrics, still on the device, and its wait for data."""
    self._steps.append(metrics)
    self._waited += waited_s
    if not self._compiled:
      # The first step compiles; the pace is measured from the second on.
      jax.block_until_ready(metrics)
      self._compiled = True
      self.restart(step)

  def collect(self, step: int) -> dict[str, float]:
    """Fetches and averages what was added since the last call.

    Returns:
      The metrics; `images_per_second`; `data_wait`, the share of the time that
      was spent waiting for the host; `seconds_left`.
    """
    values = _average(jax.device_get(self._steps))
    now = time.monotonic()
    elapsed = max(now - self._last_time, 1e-9)
    steps = max(step - self._last_step, 1)
    values["images_per_second"] = steps * self._batch_size / elapsed
    values["data_wait"] = self._waited / elapsed
    values["seconds_left"] = (self._total_steps - step) * elapsed / steps
    self._steps = []
    self.restart(step)
    return values

  def restart(self, step: int) -> None:
    """Forgets the time since the last call: it was not spent on training."""
    self._last_step, self._last_time = step, time.monotonic()
    self._waited = 0.0

  def line(self, step: int, values: Mapping[str, float]) -> str:
    """Formats one line for the console."""
    terms = " ".join(
      f"{name} {values[name]:.4f}"
      for name in ("loss", "dino_global", "dino_local", "ibot", "koleo")
    )
    epochs = " ".join(
      f"{name.removeprefix('epoch/')} {value:.2f}"
      for name, value in values.items()
      if name.startswith("epoch/")
    )
    return (
      f"step {step}/{self._total_steps} {terms}"
      f" | epoch {epochs}"
      f" | {values['images_per_second']:.1f} images/s"
      f" | data wait {values['data_wait']:.0%}"
      f" | {duration(values['seconds_left'])} left"
    )


def _average(steps: list[dict[str, Any]]) -> dict[str, float]:
  """Mean of every metric over steps, as a clu collection."""
  collection = clu_metrics.Collection.create(
    **{
      name: clu_metrics.Average.from_output(name) for name in (steps or [{}])[0]
    }
  )
  total = None
  for values in steps:
    one = collection.single_from_model_output(**values)
    total = one if total is None else total.merge(one)
  if total is None:
    return {}
  return {name: float(value) for name, value in total.compute().items()}


def duration(seconds: float) -> str:
  """1:02:03 for 3723 seconds."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02d}:{seconds:02d}"


def log_parameters(params: Params) -> None:
  """Logs a table of parameters, shapes and placement."""
  logger.info(
    "\n%s",
    parameter_overview.get_parameter_overview(params, include_stats="sharding"),
  )
