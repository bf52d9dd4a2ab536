"""Where a number comes from, so that it can be made again."""

from __future__ import annotations

import datetime
import platform
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import flax
import jax
import numpy as np

from scan42_jax import __version__


def provenance(
  module: str,
  *,
  config: Mapping[str, Any],
  encoder: str,
  encoder_sha256: str,
  data: Mapping[str, str],
  seed: int,
) -> dict[str, Any]:
  """Returns what stands beside every number.

  Args:
    module: the binary, 'scan42_jax.eval.classification'.
    config: resolved settings as JSON values.
    encoder: what the encoder says of itself.
    encoder_sha256: digest of its weights.
    data: name of each dataset and the SHA-256 of its manifest.
    seed: of everything random.
  """
  return {
    "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
    "encoder": encoder,
    "encoder_sha256": encoder_sha256,
    "data_manifest_sha256": dict(data),
    "seed": seed,
    "versions": {
      "scan42_jax": __version__,
      "python": platform.python_version(),
      "jax": jax.__version__,
      "flax": flax.__version__,
      "numpy": np.__version__,
    },
    "devices": f"{jax.device_count()} {jax.devices()[0].device_kind}",
    "date": datetime.date.today().isoformat(),
    "config": dict(config),
  }
