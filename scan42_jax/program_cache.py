"""Compiled programs on disk, so that a resumed run need not compile again."""

from __future__ import annotations

import pathlib

import jax


def keep_programs(folder: pathlib.Path) -> None:
  """Keeps what is compiled from here on, in the user's own cache if there is.

  Several CPU devices keep nothing, even with the user's own cache: what orders
  the collectives of a CPU program is lost on disk (jaxlib 0.10.2), and devices
  that meet in other orders wait for each other for ever.

  Args:
    folder: for the programs, where JAX_COMPILATION_CACHE_DIR names none.
  """
  if jax.default_backend() == "cpu" and jax.device_count() > 1:
    jax.config.update("jax_enable_compilation_cache", False)
  elif jax.config.jax_compilation_cache_dir is None:
    jax.config.update("jax_compilation_cache_dir", str(folder))
