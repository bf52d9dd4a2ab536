"""Names weights by their contents, whatever file they came from."""

from __future__ import annotations

import hashlib

import numpy as np

from scan42_jax import paths
from scan42_jax.types import Params


def weights_sha256(params: Params) -> str:
  """Digest of parameters, their names and their shapes, in float32."""
  digest = hashlib.sha256()
  for name, leaf in sorted(paths.flatten(params).items()):
    array = np.ascontiguousarray(leaf, np.float32)
    digest.update(f"{name} {array.shape}\n".encode())
    digest.update(array.data)
  return digest.hexdigest()
