"""Whose failure an error is, where several processes work on a run."""

import jax
import pytest

from scan42_jax import distributed


@pytest.mark.parametrize(
  "error, elsewhere",
  [
    (jax.errors.JaxRuntimeError("INTERNAL: barrier failed"), True),
    # As a jitted call raised it when another process had been killed.
    (ValueError("UNKNOWN: Gloo AllGather failed: Connection reset"), True),
    (ValueError("config.batch_size=3 does not divide over 2 devices"), False),
    (OSError("No space left on device"), False),
  ],
)
def test_a_failure_elsewhere_is_told_from_a_mistake(error, elsewhere):
  assert distributed.is_failure_elsewhere(error) == elsewhere
