"""Runs a function on bytes in a child process that a hostile input cannot hurt.

C decoders crash, leak and allocate what a file tells them to. The child has a
memory limit and an alarm clock, and is replaced when it dies or has leaked long
enough. Knows nothing of what is decoded.
"""

import atexit
import contextlib
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

_HEADER = struct.Struct("<?Q")  # success, length of what follows


class WorkerError(Exception):
  """The function failed on this input; the message is one word or phrase."""


class Worker:
  """A child process that applies the function which `module` serves.

  It is started by the first call, and ends with this process.
  """

  def __init__(
    self, module: str, *, calls: int = 256, arguments: tuple[str, ...] = ()
  ):
    """Describes the child; see `serve` for the other half.

    Args:
      module: name of a module that calls `serve` when run as a script.
      calls: inputs after which the child is replaced, which bounds its leaks.
      arguments: of the script.
    """
    self._module = module
    self._arguments = arguments
    self._calls = calls
    self._calls_left = 0
    self._process: subprocess.Popen | None = None
    self._lock = threading.Lock()
    atexit.register(self.close)

  def __call__(self, request: bytes) -> bytes:
    """Returns the function's result.

    Raises:
      WorkerError: the function raised, hung, or took the child with it.
    """
    with self._lock:
      if not self._calls_left:
        self._restart()
      self._calls_left -= 1
      try:
        _write(self._process.stdin, True, request)
        success, reply = _read(self._process.stdout)
      except (BrokenPipeError, EOFError):
        self.close()
        raise WorkerError("decoder crashed or ran out of time") from None
      except BaseException:
        self.close()  # The next call must not read this one's late reply.
        raise
      if not success:
        self.close()  # What a bad input leaked must not fail the next one.
        raise WorkerError(reply.decode())
      return reply

  def close(self) -> None:
    """Ends the child; the next call starts another."""
    self._calls_left = 0
    if self._process is not None:
      self._process.kill()
      self._process.wait()
      with contextlib.suppress(BrokenPipeError):
        self._process.stdin.close()
      self._process.stdout.close()
      self._process = None

  def _restart(self) -> None:
    self.close()
    self._process = subprocess.Popen(
      [sys.executable, "-m", self._module, *self._arguments],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env=os.environ
      | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OPENBLAS_NUM_THREADS": "1",  # a thread each takes address space
      },
    )
    self._calls_left = self._calls


def serve(
  function: Callable[[bytes], bytes],
  *,
  memory_bytes: int = 3 * 2**30,
  timeout_s: int = 60,
) -> None:
  """Applies `function` to what a `Worker` sends until that one goes away.

  Args:
    function: may raise; the name of the exception's type is sent back.
    memory_bytes: address space of this process.
    timeout_s: longest time for one input, after which the process dies.
  """
  # Libraries write where they please: keep the pipe out of their reach.
  replies = os.fdopen(os.dup(1), "wb")
  silence = os.open(os.devnull, os.O_WRONLY)
  os.dup2(silence, 1)
  os.dup2(silence, 2)
  for number in (signal.SIGINT, signal.SIGTERM):
    # Sent to whole groups: the parent may want to finish its file first.
    signal.signal(number, signal.SIG_IGN)
  with contextlib.suppress(ValueError):  # macOS has no limit on address space
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
  with contextlib.suppress(EOFError, BrokenPipeError):
    while True:
      _, request = _read(sys.stdin.buffer)
      # Its default action kills even a process deep inside C code.
      signal.alarm(timeout_s)
      try:
        success, reply = True, function(request)
      except Exception as error:
        success, reply = False, type(error).__name__.encode()
      signal.alarm(0)
      _write(replies, success, reply)


def _write(stream: BinaryIO, success: bool, body: bytes) -> None:
  stream.write(_HEADER.pack(success, len(body)))
  stream.write(body)
  stream.flush()


def _read(stream: BinaryIO) -> tuple[bool, bytes]:
  header = stream.read(_HEADER.size)
  if len(header) < _HEADER.size:
    raise EOFError
  success, length = _HEADER.unpack(header)
  body = stream.read(length)
  if len(body) < length:
    raise EOFError
  return success, body
