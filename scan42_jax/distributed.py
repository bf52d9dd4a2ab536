"""Several processes that work on one run: how they meet, agree and end.

What follows from the same numbers everywhere needs no agreement; what one
process alone sees, such as a file or an error, does.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

TRY_AGAIN = 75
"""Exit code after the failure of another process: the same command goes on."""


def start(
  coordinator: str | None = None,
  *,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Meets the other processes; call it before anything touches a device.

  What is not given comes from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
  JAX_PROCESS_ID, then from SLURM, Open MPI, Kubernetes or a TPU's metadata.

  Args:
    coordinator: HOST:PORT at which process 0 waits for the others.
    num_processes: of the run.
    process_id: of this one, 0 .. num_processes - 1.

  Raises:
    ValueError: where the others are is not known, or they did not come.
  """
  if num_processes is None:
    num_processes = _number("JAX_NUM_PROCESSES")
  if process_id is None:
    process_id = _number("JAX_PROCESS_ID")
  try:
    jax.distributed.initialize(
      coordinator or None, num_processes=num_processes, process_id=process_id
    )
  except (ValueError, TypeError, RuntimeError) as error:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise ValueError(
      f"the processes of this run do not find each other ({reason}): start"
      " them under SLURM, Open MPI, Kubernetes or on a TPU, or give each"
      " --coordinator=HOST:PORT --num_processes=N --process_id=I"
    ) from error


def _number(variable: str) -> int | None:
  text = os.environ.get(variable)
  if text is not None and not text.isdecimal():
    raise ValueError(f"{variable}={text!r} is no whole number")
  return None if text is None else int(text)


def refuse_several(task: str) -> None:
  """Stops what works in one process where a cluster starts several of it.

  Raises:
    ValueError: SLURM, Open MPI or JAX's variables tell of more than one.
  """
  # SLURM_NTASKS is set for the script of a job, too, which is one process.
  for variable in (
    "SLURM_STEP_NUM_TASKS",
    "OMPI_COMM_WORLD_SIZE",
    "JAX_NUM_PROCESSES",
  ):
    if (_number(variable) or 1) > 1:
      raise ValueError(
        f"{task} is done by one process, with all devices of one host, for"
        " several would write the same files; this is one of"
        f" {os.environ[variable]} (${variable}): start it once"
      )


def all_agree(mine: bool) -> bool:
  """Whether all processes say True; each gets the same answer."""
  if jax.process_count() == 1:
    return mine
  return bool(multihost_utils.process_allgather(np.array(mine)).all())


def sum_over_processes(mine: int) -> int:
  """Adds up a number of each process; each gets the same answer."""
  if jax.process_count() == 1:
    return mine
  return int(multihost_utils.process_allgather(np.array(mine)).sum())


def is_failure_elsewhere(error: BaseException) -> bool:
  """Whether a device or another process failed, and nothing that we wrote."""
  # Calls that meet a broken connection raise a ValueError with its status.
  status = "ABORTED|CANCELLED|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|UNKNOWN"
  if isinstance(error, ValueError):
    return re.match(f"({status}): ", str(error)) is not None
  return isinstance(error, jax.errors.JaxRuntimeError)


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
  """Ends the others, too, if this process or one of them fails.

  An exit waits for all processes by default, which go on waiting for this one:
  so a process of several that fails goes at once, and the others notice.
  """
  try:
    yield
  except BaseException as error:
    agreed = isinstance(error, SystemExit) and error.code != 1
    if jax.process_count() == 1 or agreed:
      raise
    with contextlib.suppress(OSError):  # Nobody may be reading any more.
      _leave(_explained(error))
    os._exit(1)


def _explained(error: BaseException) -> int:
  """Says on stderr what happened; returns the exit code."""
  if is_failure_elsewhere(error):
    reason = (str(error).splitlines() or ["unknown"])[0][:300]
    print(
      f"error: a device or another process failed ({reason}); run the same"
      " command again",
      file=sys.stderr,
    )
    return TRY_AGAIN
  if not isinstance(error, SystemExit):  # Which has said it already.
    traceback.print_exception(error)
  return 1


def _leave(code: int) -> NoReturn:
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)
