"""Configs and hardware to jobs."""

import dataclasses

import pytest

from launch.description import Hardware, Job, preparation, pretraining

CPU = Hardware()
NODES = Hardware(chip="h100", chips=8, hosts=2, cpus=96, memory_gb=900)


def _pretraining(hardware=CPU, **kwargs):
  return pretraining("c.py", "w", "d", name="run", hardware=hardware, **kwargs)


def test_one_run():
  [job] = _pretraining(overrides=["config.seed=3", "--config.a.b=x y"])
  assert job.name == "run"
  assert job.args == (
    "-m",
    "scan42_jax.main",
    "--config=c.py",
    "--workdir=w",
    "--data_dir=d",
    "--config.seed=3",
    "--config.a.b=x y",
  )
  assert job.again == (143,)


def test_a_sweep_has_a_work_folder_for_each_run():
  jobs = _pretraining(
    overrides=["config.seed=9"],
    sweep=[["config.seed=0"], ["config.seed=1", "config.batch_size=8"]],
  )
  assert [job.name for job in jobs] == ["run-00", "run-01"]
  assert ["--workdir=w/00" in job.args for job in jobs] == [True, False]
  # The last of two flags counts: a run's own.
  assert jobs[1].args[-3:] == (
    "--config.seed=9",
    "--config.seed=1",
    "--config.batch_size=8",
  )


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_several_hosts_are_distributed(hosts):
  [job] = _pretraining(dataclasses.replace(NODES, hosts=hosts))
  assert ("--distributed" in job.args) == (hosts > 1)


def test_preparation_has_a_job_for_each_dataset():
  jobs = preparation(
    [["--dataset=nih_cxr8", "--source=/r/a b"], ["--dataset=padchest"]],
    "d",
    name="prep",
    hardware=Hardware(cpus=16),
  )
  assert [job.name for job in jobs] == ["prep-00", "prep-01"]
  assert jobs[0].args == (
    "-m",
    "scan42_jax.data.prepare",
    "--data_dir=d",
    "--workers=16",
    "--dataset=nih_cxr8",
    "--source=/r/a b",
  )
  assert jobs[0].again == (130, 143)


@pytest.mark.parametrize(
  "override", ["seed=1", "config.seed", "--config=x", "config.a-b=1", "-x"]
)
def test_what_is_no_override_is_refused(override):
  with pytest.raises(ValueError, match=r"config\.field=value"):
    _pretraining(sweep=[[override]])


def test_equal_entries_of_a_sweep_are_refused():
  with pytest.raises(ValueError, match="the same"):
    _pretraining(sweep=[["config.seed=1"], ["--config.seed=1"]])


@pytest.mark.parametrize(
  "fields",
  [
    {"chip": "h100"},
    {"chips": 2},
    {"chip": "abacus"},
    {"hosts": 0},
    {"hours": 0},
    {"chip": "h100", "chips": -1},
  ],
)
def test_impossible_hardware_is_refused(fields):
  with pytest.raises(ValueError, match=r"chip|positive"):
    Hardware(**fields)


@pytest.mark.parametrize(
  "name", ["", "Run", "a_b", "a" * 41, "-a", "a\n", "a-"]
)
def test_bad_names_are_refused(name):
  with pytest.raises(ValueError, match="lower-case"):
    Job(name=name, args=(), hardware=CPU, again=())


def test_a_line_end_in_an_argument_is_refused():
  with pytest.raises(ValueError, match="control character"):
    _pretraining(overrides=["config.x=a\n#SBATCH --uid=root"])


def test_preparation_is_for_one_host_and_needs_names():
  with pytest.raises(ValueError, match="one host"):
    preparation([["--dataset=a"]], "d", name="p", hardware=NODES)
  with pytest.raises(ValueError, match="--dataset=NAME"):
    preparation([["--source=a"]], "d", name="p", hardware=CPU)
