"""Looks after a running loop: hangs, profiles on request, the crash bundle."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import signal
from collections.abc import Callable, Mapping
from typing import Any

import jax

from scan42_jax import crash
from scan42_jax.guards import Watchdog
from scan42_jax.types import Metrics

_REMEMBERED = 20  # Steps whose metrics go into a crash bundle.
_PROFILED = 5


class Caretaker:
  """Is told of every step, before and after it.

  `kill -USR1 PID` makes a process profile its next five steps into
  `profile/step_N`, for TensorBoard or Perfetto.

  Args:
    workdir: of the run.
    hang_s: longest time between two steps, in seconds.
    facts: step -> what the run adds to a crash bundle.
    say: takes a line for the user.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    hang_s: int,
    facts: Callable[[int], Mapping[str, Any]],
    say: Callable[[str], None],
  ):
    self._workdir, self._facts, self._say = workdir, facts, say
    process = jax.process_index()
    self._watchdog = Watchdog(workdir / f"hung_{process}.txt", limit_s=hang_s)
    self._step = 0
    self._steps: collections.deque[tuple[int, Metrics]] = collections.deque(
      maxlen=_REMEMBERED
    )
    self._profile_wanted = False
    self._profile_ends: int | None = None

  def __enter__(self) -> Caretaker:
    self._watchdog.__enter__()
    self._usr1 = signal.signal(signal.SIGUSR1, self._want_profile)
    return self

  def before(self, step: int) -> None:
    """Is called as a step begins."""
    self._step = step
    self._watchdog.feed()
    if self._profile_wanted and self._profile_ends is None:
      folder = self._workdir / "profile" / f"step_{step}"
      jax.profiler.start_trace(folder)
      self._profile_wanted, self._profile_ends = False, step + _PROFILED - 1
      self._say(f"profiling steps {step} to {self._profile_ends} to {folder}")

  def after(self, step: int, metrics: Metrics) -> None:
    """Is called once a step has been handed to the devices."""
    self._steps.append((step, metrics))
    if step == self._profile_ends:
      jax.block_until_ready(metrics)
      self._end_profile()

  def __exit__(self, kind: Any, error: BaseException | None, trace: Any):
    self._watchdog.__exit__(kind, error, trace)
    signal.signal(signal.SIGUSR1, self._usr1)
    if self._profile_ends is not None:
      self._end_profile()
    if isinstance(error, Exception):
      # Neither a full disk nor a lost device may hide the error itself.
      with contextlib.suppress(OSError, jax.errors.JaxRuntimeError):
        crash.write_bundle(
          self._workdir,
          error,
          step=self._step,
          metrics=self._fetched(),
          facts=self._facts(self._step),
        )

  def _fetched(self) -> list[tuple[int, dict[str, float]]]:
    found = []
    with contextlib.suppress(jax.errors.JaxRuntimeError):
      for step, metrics in self._steps:
        values = jax.device_get(metrics)
        found.append((step, {name: float(v) for name, v in values.items()}))
    return found

  def _want_profile(self, number: int, frame: Any) -> None:
    del number, frame
    self._profile_wanted = True

  def _end_profile(self) -> None:
    self._profile_ends = None
    jax.profiler.stop_trace()
