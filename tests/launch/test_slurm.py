"""SLURM scripts: what they ask for, and what bash makes of them."""

import programs
import pytest

from launch import slurm
from launch.description import Hardware, preparation, pretraining

GPUS = Hardware(
  chip="h100", chips=8, hosts=2, cpus=96, memory_gb=900, hours=2.5
)
HOSTILE = "/w o/$(touch hacked)`id`'\"*;#\\"


def _jobs(hardware=None, **kwargs):
  return pretraining(
    "c.py", "w", "d", name="run", hardware=hardware or Hardware(), **kwargs
  )


def _script(jobs, python="python", **kwargs):
  return slurm.script(jobs, python=str(python), root="/", **kwargs)


def _directives(text):
  pairs = [
    line.removeprefix("#SBATCH --").partition("=")[::2]
    for line in text.splitlines()
    if line.startswith("#SBATCH")
  ]
  assert len(dict(pairs)) == len(pairs)
  return dict(pairs)


def test_resources_of_several_hosts():
  found = _directives(_script(_jobs(GPUS), partition="gpu", account="a.b"))
  assert found == {
    "job-name": "run",
    "nodes": "2",
    "ntasks-per-node": "8",  # A process for each device.
    "cpus-per-task": "12",
    "mem": "900G",
    "time": "150",
    "open-mode": "append",
    "signal": "TERM@120",
    "gpus-per-node": "h100:8",
    "partition": "gpu",
    "account": "a.b",
    "requeue": "",
  }


def test_one_host_is_one_process():
  one = Hardware(chip="h100", chips=8, cpus=96)
  found = _directives(_script(_jobs(one)))
  assert (found["ntasks-per-node"], found["cpus-per-task"]) == ("1", "96")
  assert "array" not in found
  assert "gpus-per-node" not in _directives(_script(_jobs()))


def test_several_jobs_are_an_array():
  parts = [[f"--dataset={name}"] for name in ("nih_cxr8", "padchest", "brax")]
  jobs = preparation(parts, "d", name="prep", hardware=Hardware())
  assert _directives(_script(jobs))["array"] == "0-2"
  assert _directives(_script(jobs, at_once=2))["array"] == "0-2%2"


@pytest.mark.parametrize("value", ["a b", "p\n#SBATCH --x", "", "$(id)"])
def test_directives_cannot_be_smuggled_in(value):
  with pytest.raises(ValueError, match="forbidden"):
    _script(_jobs(), partition=value)


def test_tpus_are_refused():
  with pytest.raises(ValueError, match="TPU"):
    _script(_jobs(Hardware(chip="v5e", chips=4)))


def _run(tmp_path, jobs, *, code=0, state="JobState=RUNNING", task=None):
  """Runs a script; returns arguments of the program, and of scontrol."""
  folder = tmp_path / "bin"
  programs.write(folder, "srun", 'exec "$@"')
  python = programs.write(
    folder, "py thon", f'printf "%s\\0" "$@" > {tmp_path}/args; exit {code}'
  )
  programs.write(
    folder,
    "scontrol",
    f'if [ "$1" = --oneliner ]; then echo "JobId=7 {state}"'
    f'; else echo "$*" >> {tmp_path}/requeued; fi',
  )
  environment = {"SLURM_JOB_ID": "7"}
  if task is not None:
    environment["SLURM_ARRAY_TASK_ID"] = str(task)
  done = programs.run(_script(jobs, python), folder, **environment)
  assert done.returncode == code, done.stderr
  args = (tmp_path / "args").read_text().split("\0")[:-1]
  requeued = tmp_path / "requeued"
  return args, requeued.read_text() if requeued.exists() else ""


def test_strings_arrive_as_they_are(tmp_path):
  jobs = pretraining(
    HOSTILE,
    HOSTILE,
    HOSTILE,
    name="run",
    hardware=Hardware(),
    overrides=[f"config.x={HOSTILE}"],
  )
  args, _ = _run(tmp_path, jobs)
  assert tuple(args) == jobs[0].args


def test_each_task_of_an_array_runs_its_own_job(tmp_path):
  jobs = _jobs(sweep=[["config.seed=0"], ["config.seed=1"]])
  args, _ = _run(tmp_path, jobs, task=1)
  assert tuple(args) == jobs[1].args


@pytest.mark.parametrize(
  "code, state, again",
  [
    (143, "JobState=RUNNING Reason=None", True),
    (143, "JobState=COMPLETING Reason=TimeLimit", True),
    (143, "JobState=COMPLETING Reason=None", False),  # scancel
    (130, "JobState=RUNNING Reason=None", False),
    (1, "JobState=RUNNING Reason=None", False),
    (0, "JobState=RUNNING Reason=None", False),
  ],
)
def test_only_unfinished_runs_go_back_into_the_queue(
  tmp_path, code, state, again
):
  _, requeued = _run(tmp_path, _jobs(), code=code, state=state)
  assert requeued == ("requeue 7\n" if again else "")


def test_an_interrupted_preparation_goes_back_into_the_queue(tmp_path):
  jobs = preparation([["--dataset=a"]], "d", name="p", hardware=Hardware())
  _, requeued = _run(tmp_path, jobs, code=130)
  assert requeued == "requeue 7\n"
