"""Worker processes and their crashes."""

import os
import signal

import pytest

from scan42_jax.data import workers


def _double_or_die(number):
  if number == 3:
    os.kill(os.getpid(), signal.SIGKILL)
  return 2 * number


def test_crash_of_a_worker_costs_one_job():
  jobs = [(i,) for i in range(8)]
  results = dict(workers.run_jobs(_double_or_die, jobs, workers=2))
  crash = results.pop((3,))
  assert isinstance(crash, workers.WorkerCrash) and "signal 9" in str(crash)
  assert results == {(i,): 2 * i for i in range(8) if i != 3}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_every_job_is_done_once(num_workers):
  jobs = [(f"{i}",) for i in range(9)]
  results = list(workers.run_jobs(int, jobs, workers=num_workers))
  assert sorted(results) == [((f"{i}",), i) for i in range(9)]


def test_workers_are_replaced_before_they_grow_old(monkeypatch):
  monkeypatch.setattr(workers, "_JOBS_A_LIFE", 2)
  pids = workers.run_jobs(_own_pid, [(i,) for i in range(5)], workers=1)
  assert len({pid for _, pid in pids}) == 3


def _own_pid(_):
  return os.getpid()


def test_no_jobs_need_no_workers():
  assert list(workers.run_jobs(int, [], workers=2)) == []
