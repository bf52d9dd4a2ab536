"""Trains many small steps and watches memory and open files.

  python -m benchmarks.soak --folder=DIR --steps=20000

Runs the training binary on random films with a tiny network, saving and
measuring held-out films as a long run does, and samples the process from
outside. Memory may differ by 2 % between the second and the last tenth of the
run, by medians; open files must not become more. Prints one JSON object; exit
code 1: it grew.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from absl import app, flags

from benchmarks import kills

_MOST_GROWTH = 0.02

_TINY = (
  "--config.model.width=16",
  "--config.model.depth=1",
  "--config.model.num_heads=1",
  "--config.batch_size=2",
  "--config.masks.group_images=2",
  "--config.loop.log_every=50",
  "--config.loop.monitor_films=16",
)


def sample(pid: int) -> tuple[float, int] | None:
  """Returns resident memory in MiB and open files, None once it has ended."""
  try:
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    files = len(os.listdir(f"/proc/{pid}/fd"))
  except (OSError, IndexError):
    return None
  return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files


def watch(process: subprocess.Popen) -> list[tuple[float, int]]:
  """Samples a process every half second until it ends."""
  samples = []
  while process.poll() is None:
    found = sample(process.pid)
    if found:
      samples.append(found)
    time.sleep(0.5)
  return samples


def judge(samples: list[tuple[float, int]]) -> dict[str, object]:
  """Compares the second tenth of a run, when all is loaded, with the last."""
  tenth = max(len(samples) // 10, 1)
  early, late = samples[tenth : 2 * tenth], samples[-tenth:]
  before = statistics.median(memory for memory, _ in early)
  after = statistics.median(memory for memory, _ in late)
  return {
    "samples": len(samples),
    "memory_mb_early": round(before, 1),
    "memory_mb_late": round(after, 1),
    "memory_growth": round(after / before - 1, 4),
    "most_open_files_early": max(files for _, files in early),
    "most_open_files_late": max(files for _, files in late),
  }


def main(argv: list[str]) -> None:
  """Runs, watches and judges."""
  del argv
  folder = pathlib.Path(flags.FLAGS.folder).expanduser().absolute()
  prepare, pretrain = kills.tasks(folder)[:2]
  kills.whole_run(prepare, folder)
  steps = flags.FLAGS.steps
  command = [
    *pretrain.command(folder / "run"),
    *_TINY,
    f"--config.schedule.total_steps={steps}",
    f"--config.loop.checkpoint_every={max(steps // 40, 1)}",
    f"--config.loop.monitor_every={max(steps // 20, 1)}",
  ]
  begin = time.monotonic()
  with (folder / "run.log").open("wb") as log:
    process = subprocess.Popen(
      [sys.executable, *command],
      cwd=pathlib.Path(__file__).parents[1],
      stdout=log,
      stderr=log,
    )
    samples = watch(process)
  result = {
    "steps": steps,
    "exit_code": process.returncode,
    "seconds": round(time.monotonic() - begin),
    **judge(samples),
  }
  print(json.dumps(result))
  grew = (
    result["memory_growth"] > _MOST_GROWTH
    or result["most_open_files_late"] > result["most_open_files_early"]
  )
  sys.exit(bool(process.returncode or grew))


if __name__ == "__main__":
  flags.DEFINE_string("folder", None, "Work folder.", required=True)
  flags.DEFINE_integer("steps", 20_000, "Of the optimizer.", 100)
  app.run(main)
