"""Worker processes that outlive neither a crash of a film nor their parent.

A decoder may bring its process down with it. Then the film is named, a new
process takes over, and the rest goes on.
"""

import collections
import multiprocessing
import multiprocessing.connection
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_AHEAD = 2  # Jobs a worker holds, so that it never waits for the parent.
_JOBS_A_LIFE = 2000  # Bounds what a leaking decoder can take.


class WorkerCrash(RuntimeError):
  """The process that ran a job has ended; the message says how."""


def run_jobs(
  function: Callable[..., Any], jobs: Iterable[tuple], *, workers: int
) -> Iterator[tuple[tuple, Any]]:
  """Calls a function in worker processes.

  Args:
    function: picklable, called as `function(*job)`.
    jobs: argument tuples.
    workers: number of processes; 0 works in this one.

  Yields:
    Each job with its result, or with a WorkerCrash, as they are ready.
  """
  if workers == 0:
    for job in jobs:
      yield job, function(*job)
    return
  queue = collections.deque(jobs)
  team = [_Worker(function) for _ in range(min(workers, len(queue)))]
  try:
    for worker in team:
      worker.fill(queue)
    while busy := {w.connection: w for w in team if w.held}:
      for connection in multiprocessing.connection.wait(list(busy)):
        yield busy[connection].collect(queue)
  finally:
    for worker in team:
      worker.stop()


class _Worker:
  """One process, the pipe to it and the jobs it holds."""

  def __init__(self, function):
    self._function = function
    self.held = collections.deque()
    self._start()

  def fill(self, queue):
    while queue and len(self.held) < _AHEAD and self._left > 0:
      job = queue.popleft()
      self.held.append(job)
      self._left -= 1
      try:
        self.connection.send(job)
      except OSError:  # It has just ended; collect() will notice.
        return

  def collect(self, queue):
    """Takes one result; restarts the process if it has ended."""
    job = self.held.popleft()
    try:
      result = self.connection.recv()
    except (EOFError, OSError):
      queue.extendleft(reversed(self.held))
      self.held.clear()
      result = WorkerCrash(f"its decoder crashed ({self._end()})")
    if not self.held and self._left == 0 and self._process.is_alive():
      self._end()
    if not self._process.is_alive() and queue:
      self._start()
    self.fill(queue)
    return job, result

  def stop(self):
    self._process.terminate()
    self._end()

  def _start(self):
    # Spawned, since forking a process that runs threads may hang; and no
    # sibling then holds this pipe open, so it breaks when the parent dies.
    context = multiprocessing.get_context("spawn")
    self.connection, theirs = context.Pipe()
    self._process = context.Process(
      target=_work, args=(theirs, self._function), daemon=True
    )
    self._process.start()
    theirs.close()
    self._left = _JOBS_A_LIFE

  def _end(self):
    self.connection.close()
    self._process.join()
    code = self._process.exitcode
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _work(connection, function):
  """Body of a worker; ends when the pipe does."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides.
  try:
    while True:
      connection.send(function(*connection.recv()))
  except (EOFError, BrokenPipeError, ConnectionResetError):
    pass
