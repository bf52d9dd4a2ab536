"""ConfigDicts of report generation: the face that users see of the settings."""

from __future__ import annotations

import dataclasses

import ml_collections

from scan42_jax.eval.reports.settings import ReportSettings


def default_config() -> ml_collections.ConfigDict:
  """Returns the defaults as a locked ConfigDict."""
  return ml_collections.ConfigDict(dataclasses.asdict(ReportSettings())).lock()
