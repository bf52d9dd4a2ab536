"""What ends a run early: a signal, or steps that are not finite."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

import jax

from scan42_jax.types import Metrics


class SkipGuard:
  """Counts skipped steps and stops a run that only skips.

  Args:
    most_in_a_row: skipped steps in a row that end the run.
    say: takes a line for the user.
  """

  def __init__(self, most_in_a_row: int, *, say: Callable[[str], None]):
    self._most, self._say = most_in_a_row, say
    self._total = 0
    self._pending: tuple[int, Metrics] | None = None

  def check(self, step: int, metrics: Metrics) -> None:
    """Judges the step before this one, so that the device never waits."""
    self.finish()
    self._pending = step, metrics

  def finish(self) -> None:
    """Judges the last step.

    Raises:
      FloatingPointError: it was one too many.
    """
    if self._pending is None:
      return
    step, metrics = self._pending
    self._pending = None
    in_a_row = int(metrics["skipped_in_a_row"])
    if not in_a_row:
      return
    self._total += 1
    self._say(
      f"step {step} skipped: loss or gradient is NaN or Inf ({in_a_row} in a"
      f" row, {self._total} in this call)"
    )
    if in_a_row >= self._most:
      raise FloatingPointError(
        f"loss or gradients were NaN or Inf in {in_a_row} steps in a row, up to"
        f" step {step}; the parameters are those of step {step - in_a_row}:"
        " lower config.schedule.learning_rate, or look at the films of these"
        " steps"
      )


@contextlib.contextmanager
def caught_signals() -> Iterator[list[signal.Signals]]:
  """Collects SIGTERM and SIGINT, so that the loop can save and stop.

  With several processes, SIGTERM is left to jax.distributed, which makes all of
  them stop at the same step.
  """
  received: list[signal.Signals] = []
  wanted = [signal.SIGINT]
  if jax.process_count() == 1:
    wanted.append(signal.SIGTERM)
  handler = lambda number, _: received.append(signal.Signals(number))  # noqa: E731
  before = {number: signal.signal(number, handler) for number in wanted}
  try:
    yield received
  finally:
    for number, old in before.items():
      signal.signal(number, old)
