"""A run's held-out films: monitors while it trains, a probe at its end."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from scan42_jax.data.sources import FilmSource, open_films
from scan42_jax.eval.drift import drift_monitors
from scan42_jax.eval.features import FilmReader, LabelledFeatures
from scan42_jax.eval.linear_probe import compare_probes
from scan42_jax.eval.monitors import held_out_monitors
from scan42_jax.settings import Settings
from scan42_jax.sharding import replicated
from scan42_jax.types import Array, Float, Params, UInt8


class HeldOut:
  """Opens the held-out splits that the settings ask for.

  Args:
    settings: of the run.
    mesh: films are split over it.
    data_dir: prepared datasets.

  Raises:
    ValueError, OSError: a split or its labels are absent.
  """

  def __init__(self, settings: Settings, mesh: Mesh, *, data_dir: pathlib.Path):
    data, loop = settings.data, settings.loop
    self._settings, self._data_dir = settings, data_dir
    self._name = data.monitor_dataset or data.datasets[0]
    self._monitored = (
      self._open(data.monitor_split) if loop.monitor_every else None
    )
    self._probed = self._open_probed() if loop.linear_probe else []
    self._start: LabelledFeatures | None = None
    self._net = settings.net()
    # Prototypes may be split over processes, which cannot see each other's.
    self._dino_logits = jax.jit(
      self._net.dino_logits, out_shardings=replicated(mesh)
    )
    self._reader = FilmReader(
      self._net.encoder,
      mesh,
      canvas_px=data.canvas_px,
      size_px=settings.crops.global_size_px,
      mean=settings.crops.mean,
      std=settings.crops.std,
      equalize=data.equalize,
    )

  def monitor(
    self, teacher: Params, *, center: Float[Array, "K"], step: int
  ) -> dict[str, float]:
    """Measures the teacher; see `held_out_monitors` and `drift_monitors`."""
    films = self._read(teacher["encoder"])
    monitors = held_out_monitors(
      films,
      functools.partial(self._dino_logits, teacher),
      center=center,
      temperature=self._settings.schedules().teacher_temperature(step),
    )
    if self._start is not None:
      monitors |= drift_monitors(films, self._start)
    return monitors

  def look(
    self, teacher: Params
  ) -> tuple[UInt8[np.ndarray, "N s s"], Float[np.ndarray, "N h w D"]]:
    """Returns the first held-out films and their patches, for pictures."""
    count = self._settings.loop.report_films
    return self._reader.look(teacher["encoder"], self._monitored, count=count)

  def remember_start(self, encoder: Params) -> None:
    """Lets the monitors look for drift from this encoder from now on."""
    self._start = self._read(encoder)

  def compare(self, before: Params, after: Params) -> dict[str, Any]:
    """Compares probes on two encoders; see `compare_probes`."""
    return compare_probes(
      [
        (self._reader.read(before, source), self._reader.read(after, source))
        for source in self._probed
      ]
    )

  def _read(self, encoder: Params) -> LabelledFeatures:
    return self._reader.read(
      encoder, self._monitored, limit=self._settings.loop.monitor_films
    )

  def _open(self, split: str) -> FilmSource:
    return open_films(self._data_dir, self._name, split)

  def _open_probed(self) -> list[FilmSource]:
    sources = [self._open(s) for s in ("train", "validation", "test")]
    if not sources[0].label_names:
      raise ValueError(
        f"config.loop.linear_probe needs labels and {self._name!r} has none:"
        " prepare it with --labels_csv, or set the field to False"
      )
    return sources
