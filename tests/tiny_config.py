"""The tests' run as a config file."""

import tiny


def get_config():
  """Returns the tiny config on the tests' own films."""
  return tiny.config(
    **{
      "data.datasets": ("folder",),
      "loop.log_every": 1,
      "loop.checkpoint_every": 10,
      "schedule.total_steps": 40,
    }
  )
