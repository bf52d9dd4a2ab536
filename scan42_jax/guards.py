"""What ends a run early: a signal, a hang, or steps that are unusable."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pathlib
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
      f"step {step} skipped: loss or gradient is NaN, Inf or above"
      f" config.optimizer.skip_norm ({in_a_row} in a row, {self._total} in this"
      " call)"
    )
    if in_a_row >= self._most:
      raise FloatingPointError(
        f"loss or gradients were NaN or Inf in {in_a_row} steps in a row, or"
        f" above config.optimizer.skip_norm, up to step {step}; the parameters"
        f" are those of step {step - in_a_row}: lower"
        " config.schedule.learning_rate, or look at the films of these steps"
      )


class Watchdog:
  """Ends this process if nothing feeds it for too long, and tells where it was.

  The stacks of all threads go to a file, and SIGALRM ends the process, so that
  its exit code differs from that of an error. Both happen in the kernel and in
  C: a thread that hangs with the interpreter's lock cannot prevent them.

  Args:
    file: gets the stacks; is absent or empty as long as all is well.
    limit_s: longest time between two calls of `feed`.
  """

  def __init__(self, file: pathlib.Path, *, limit_s: int):
    self._path, self._limit_s = file, limit_s

  def __enter__(self) -> Watchdog:
    self._file = self._path.open("w")
    # The handler before it, which is none, is called after it: the end.
    faulthandler.register(
      signal.SIGALRM, file=self._file, all_threads=True, chain=True
    )
    self.feed()
    return self

  def feed(self) -> None:
    """Starts the time anew."""
    signal.alarm(self._limit_s)

  def __exit__(self, *_: object) -> None:
    signal.alarm(0)
    faulthandler.unregister(signal.SIGALRM)
    self._file.close()
    self._path.unlink()


@contextlib.contextmanager
def caught_signals() -> Iterator[list[signal.Signals]]:
  """Collects SIGTERM and SIGINT, so that the loop can save and stop.

  With several processes, SIGTERM is left to jax.distributed, which makes all of
  them stop at the same step; SIGINT, which it does not know, becomes SIGTERM.
  """
  received: list[signal.Signals] = []

  def receive(number: int, _: object) -> None:
    if jax.process_count() == 1:
      received.append(signal.Signals(number))
    else:
      os.kill(os.getpid(), signal.SIGTERM)

  wanted = [signal.SIGINT]
  if jax.process_count() == 1:
    wanted.append(signal.SIGTERM)
  before = {number: signal.signal(number, receive) for number in wanted}
  try:
    yield received
  finally:
    for number, old in before.items():
      signal.signal(number, old)
