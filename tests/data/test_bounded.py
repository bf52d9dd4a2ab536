"""The child process: results, failures, limits, replacement."""

import os
import subprocess
import sys
import textwrap
import time

import pytest

from scan42_jax.data import bounded


@pytest.fixture
def worker(tmp_path, monkeypatch):
  """A worker whose child does what the request says."""
  (tmp_path / "obedient_child.py").write_text(
    textwrap.dedent(
      """
      import os, signal, time
      from scan42_jax.data import bounded

      def obey(request):
        if request == b"pid":
          return str(os.getpid()).encode()
        if request == b"print":
          os.write(1, b"noise"), os.write(2, b"noise"), print("noise")
        if request == b"raise":
          raise KeyError("secret")
        if request == b"crash":
          os.abort()
        if request == b"hang":
          time.sleep(30)
        if request == b"hoard":
          return bytes(2**30)
        return request[::-1]

      bounded.serve(obey, memory_bytes=2**29, timeout_s=1)
      """
    )
  )
  monkeypatch.syspath_prepend(str(tmp_path))
  worker = bounded.Worker("obedient_child", calls=4)
  yield worker
  worker.close()


def test_answers_and_reuses_its_child(worker):
  assert worker(b"abc") == b"cba"
  assert worker(bytes(2**20)) == bytes(2**20)
  assert worker(b"") == b""
  assert int(worker(b"pid")) != os.getpid()


def test_child_is_replaced_after_its_calls(worker):
  children = [worker(b"pid") for _ in range(5)]
  assert len(set(children[:4])) == 1
  assert children[4] != children[0]


def test_what_a_library_prints_does_not_disturb(worker, capfd):
  assert worker(b"print") == b"tnirp"
  assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
  ("request_bytes", "reason"),
  [
    (b"raise", "^KeyError$"),
    (b"hoard", "^MemoryError$"),
    (b"crash", "crashed"),
    (b"hang", "out of time"),
  ],
)
def test_bad_input_fails_alone(worker, request_bytes, reason):
  with pytest.raises(bounded.WorkerError, match=reason):
    worker(request_bytes)
  assert worker(b"abc") == b"cba"


def test_interrupted_call_does_not_answer_the_next(worker, monkeypatch):
  def interrupt(stream):
    raise KeyboardInterrupt

  assert worker(b"abc") == b"cba"
  with monkeypatch.context() as patch:
    patch.setattr(bounded, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
      worker(b"old")
  assert worker(b"new") == b"wen"


def test_child_ends_with_its_worker(worker):
  child = int(worker(b"pid"))
  worker.close()
  with pytest.raises(ProcessLookupError):
    os.kill(child, 0)


def test_child_ends_when_its_parent_is_killed(worker, tmp_path):
  # The parent here is a process of its own, killed without warning.
  script = tmp_path / "parent.py"
  script.write_text(
    "import os, signal\n"
    "from scan42_jax.data import bounded\n"
    "child = bounded.Worker('obedient_child')(b'pid').decode()\n"
    f"open({str(tmp_path / 'pid')!r}, 'w').write(child)\n"
    "os.kill(os.getpid(), signal.SIGKILL)\n"
  )
  env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
  subprocess.run([sys.executable, str(script)], env=env, check=False)
  child = int((tmp_path / "pid").read_text())
  deadline = time.monotonic() + 20
  while _runs(child) and time.monotonic() < deadline:
    time.sleep(0.05)
  assert not _runs(child)


def _runs(pid: int) -> bool:
  """Whether a process lives; one that waits to be reaped does not."""
  try:
    with open(f"/proc/{pid}/stat") as stat:
      return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
  except FileNotFoundError:
    return False
