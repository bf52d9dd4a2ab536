"""Jobs as XManager gets them, from its own mock where it is installed."""

import sys

import pytest

from launch import xmanager_jobs
from launch.description import Hardware, pretraining


def _jobs(hardware, sweep=()):
  return pretraining(
    "c.py", "w", "d", name="run", hardware=hardware, sweep=sweep
  )


def test_hardware_in_xmanagers_words():
  [job] = _jobs(Hardware(chip="v5e", chips=4, cpus=2, memory_gb=3))
  assert xmanager_jobs.requirements(job) == {
    "cpu": 2,
    "ram": 3 * 2**30,
    "tpu_v5e": 4,
  }
  [job] = _jobs(Hardware())
  assert set(xmanager_jobs.requirements(job)) == {"cpu", "ram"}


def test_several_hosts_are_refused():
  [job] = _jobs(Hardware(hosts=2))
  with pytest.raises(ValueError, match="one host"):
    xmanager_jobs.requirements(job)


@pytest.mark.parametrize(
  "where, program, chip",
  [
    ("local", sys.executable, "cpu"),
    ("vertex", "gcr.io/p/i", "a100"),
    ("kubernetes", "gcr.io/p/i", "h100"),
    ("kubernetes", "gcr.io/p/i", "h200"),
  ],
)
def test_one_work_unit_for_each_run(where, program, chip):
  xm_mock = pytest.importorskip("xmanager.xm_mock")
  from xmanager import xm, xm_local

  hardware = Hardware(chip=chip, chips=0 if chip == "cpu" else 8)
  jobs = _jobs(hardware, sweep=[["config.seed=0"], ["config.seed=1"]])
  with xm_mock.MockExperiment() as experiment:
    xmanager_jobs.add_jobs(experiment, jobs, where=where, program=program)
  assert experiment.work_unit_count == 2
  for job, launched in zip(jobs, experiment.launched_jobs, strict=True):
    assert launched.name == job.name
    assert tuple(launched.args.to_list()) == job.args
    assert isinstance(launched.executor, getattr(xm_local, where.capitalize()))
    if chip != "cpu":
      needed = launched.executor.requirements.task_requirements
      assert needed[xm.ResourceType[chip.upper()]] == 8


@pytest.mark.parametrize("chip", ["v5e", "v5p", "v6e"])
def test_xmanager_knows_every_tpu(chip):
  xm = pytest.importorskip("xmanager.xm")
  [job] = _jobs(Hardware(chip=chip, chips=4))
  needed = xm.JobRequirements(**xmanager_jobs.requirements(job))
  assert needed.task_requirements[xm.ResourceType[f"TPU_{chip.upper()}"]] == 4
