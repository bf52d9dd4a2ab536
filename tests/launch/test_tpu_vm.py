"""The script for TPU VMs, run with a gcloud that runs commands here."""

import programs
import pytest

from launch import tpu_vm
from launch.description import Hardware, pretraining

SLICE = Hardware(chip="v5e", chips=4, hosts=4)


def _jobs(hardware=SLICE, workdir="/w o/$(id)'", **kwargs):
  return pretraining(
    "c.py", workdir, "d", name="run", hardware=hardware, **kwargs
  )


def _script(jobs, root="/", python="python3"):
  return tpu_vm.script(jobs, "slice-1", zone="z", root=root, python=str(python))


def _run(tmp_path, jobs, codes):
  """Runs jobs whose starts end with these codes; returns it and all args."""
  folder = tmp_path / "bin"
  programs.write(
    folder,
    "gcloud",
    f'echo "$1 $2 $3 $4 $5 $6 $7 $8" >> {tmp_path}/gcloud\n'
    'for arg; do case "$arg" in --command=*) exec sh -c "${arg#--command=}";;'
    " esac; done",
  )
  (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
  python = programs.write(
    folder,
    "python",
    f'cd {tmp_path}; printf "%s\\0" "$@" >> args; printf "\\n" >> args\n'
    "code=$(head -1 codes); sed -i 1d codes; exit $code",
  )
  done = programs.run(_script(jobs, python=python), folder)
  starts = (tmp_path / "args").read_text().split("\0\n")[:-1]
  return done, [tuple(start.split("\0")) for start in starts]


def test_all_hosts_run_the_command_as_it_is(tmp_path):
  [job] = _jobs()
  done, starts = _run(tmp_path, [job], [0])
  assert done.returncode == 0, done.stderr
  assert starts == [job.args]
  assert "--distributed" in job.args
  asked = (tmp_path / "gcloud").read_text()
  assert asked.startswith(
    "compute tpus tpu-vm ssh slice-1 --zone=z --worker=all --command=cd / "
  )


def test_a_stopped_run_goes_on_and_a_failed_one_does_not(tmp_path):
  jobs = _jobs(sweep=[["config.seed=0"], ["config.seed=1"]])
  done, starts = _run(tmp_path, jobs, [143, 143, 0, 1])
  assert starts == [jobs[0].args] * 3 + [jobs[1].args]
  assert done.returncode == 1


def test_a_failed_run_keeps_the_next_from_starting(tmp_path):
  jobs = _jobs(sweep=[["config.seed=0"], ["config.seed=1"]])
  _, starts = _run(tmp_path, jobs, [2, 0])
  assert starts == [jobs[0].args]


def test_other_chips_and_names_are_refused():
  with pytest.raises(ValueError, match="no TPU"):
    _script(_jobs(Hardware()))
  with pytest.raises(ValueError, match="name of a slice"):
    tpu_vm.script(_jobs(), "--flag", zone="z", root="/", python="p")
