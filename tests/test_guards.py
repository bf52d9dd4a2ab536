"""Signals are collected, endless skipping ends."""

import os
import signal

import pytest

from scan42_jax.guards import SkipGuard, caught_signals


def test_signals_are_collected_and_handlers_put_back():
  before = signal.getsignal(signal.SIGTERM)
  with caught_signals() as received:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert received == [signal.SIGTERM, signal.SIGINT]
  assert signal.getsignal(signal.SIGTERM) is before


def _feed(guard, counts):
  for step, in_a_row in enumerate(counts, 1):
    guard.check(step, {"skipped_in_a_row": in_a_row})
  guard.finish()


def test_a_skipped_step_is_told_and_too_many_end_the_run():
  lines = []
  guard = SkipGuard(2, say=lines.append)
  _feed(guard, [0, 1, 0, 1])
  assert [line.split(":")[0] for line in lines] == [
    "step 2 skipped",
    "step 4 skipped",
  ]
  assert "2 in this call" in lines[1]
  with pytest.raises(
    FloatingPointError, match=r"2 steps in a row, .*up to step 3"
  ):
    _feed(guard, [0, 1, 2])
