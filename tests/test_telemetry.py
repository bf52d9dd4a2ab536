"""What a run says of itself."""

import json

import jax.numpy as jnp
import pytest
from tensorboard.backend.event_processing.event_accumulator import (
  EventAccumulator,
)

from scan42_jax.telemetry import MetricWriter, Progress, duration


def test_a_line_per_step_and_null_for_what_is_not_finite(tmp_path):
  writer = MetricWriter(tmp_path)
  writer.write(1, {"loss": 2.5, "koleo": float("nan")})
  writer.close()
  again = MetricWriter(tmp_path)  # A resumed run appends.
  again.write(2, {"loss": 2.0})
  again.close()
  rows = [json.loads(x) for x in (tmp_path / "metrics.jsonl").open()]
  assert rows == [
    {"step": 1, "loss": 2.5, "koleo": None},
    {"step": 2, "loss": 2.0},
  ]


def test_other_processes_write_nothing(tmp_path):
  writer = MetricWriter(tmp_path, active=False)
  writer.write(1, {"loss": 1.0})
  writer.close()
  assert not list(tmp_path.iterdir())


def test_tensorboard_shows_a_text(tmp_path):
  writer = MetricWriter(tmp_path)
  writer.write_text(7, "validation texts", "|film|\n|-|\n|ü|")
  writer.close()
  events = EventAccumulator(str(tmp_path / "tensorboard"))
  events.Reload()
  assert events.PluginTagToContent("text").keys() == {"validation texts"}
  (event,) = events.Tensors("validation texts")
  assert event.step == 7
  assert event.tensor_proto.string_val[0].decode() == "|film|\n|-|\n|ü|"
  assert not (tmp_path / "metrics.jsonl").read_text()


def test_progress_averages_and_measures_from_the_second_step(monkeypatch):
  now = [0.0]
  monkeypatch.setattr("time.monotonic", lambda: now[0])
  progress = Progress(100, batch_size=8, start_step=0)
  for step, seconds, waited in [(1, 60, 0.0), (2, 2, 0.5), (3, 2, 0.5)]:
    now[0] += seconds
    progress.add(step, {"loss": jnp.asarray(float(step))}, waited_s=waited)
  values = progress.collect(3)
  assert values["loss"] == pytest.approx(2.0)
  assert values["images_per_second"] == pytest.approx(8 * 2 / 4)
  assert values["data_wait"] == pytest.approx(0.25)
  assert values["seconds_left"] == pytest.approx(97 * 2)


def test_duration():
  assert duration(3723.4) == "1:02:03"
