"""Kills programs at random moments, lets them go on, and compares what comes.

  python -m benchmarks.kills --folder=DIR --trials=50

A trial starts one of four programs (pretraining in 1, 2 or 4 processes,
preparation, fine-tuning, report generation), sends SIGTERM or SIGKILL to one of
its processes at a random moment, starts the same command again until it ends by
itself, and compares every result with that of a run that nobody disturbed, bit
for bit. DIR keeps films and undisturbed runs for the next call, which must be
of the same version; each trial is a line of DIR/trials.jsonl. Exit code 1:
something differed or did not go on.
"""

import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags, logging
from PIL import Image

_ROOT = pathlib.Path(__file__).parents[1]
_STEPS = 40
_FILMS = 96
_LONGEST_S = 300
_FINDINGS = ("The lungs are clear.", "There is a nodule in the right lung.")


@dataclasses.dataclass(frozen=True)
class Task:
  """A program and what it makes.

  Attributes:
    name: of it.
    command: work folder -> arguments of python.
    results: work folder -> name -> digest of everything that it makes.
    processes: that work on one run.
  """

  name: str
  command: Callable[[pathlib.Path], list[str]]
  results: Callable[[pathlib.Path], dict[str, str]]
  processes: int = 1


def write_films(folder: pathlib.Path) -> pathlib.Path:
  """Writes random films and their table; returns the table."""
  raw = folder / "raw"
  table = raw / "labels.csv"
  if table.exists():
    return table
  raw.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(0)
  rows = []
  for i in range(_FILMS):
    low = rng.integers(0, 256, (9, 8)).astype(np.uint8)
    Image.fromarray(low).resize((60 + i % 5, 64)).save(raw / f"{i}.png")
    split = ("train", "train", "validation", "test")[i % 4]
    rows.append([f"{i}.png", f"p{i}", split, i // 4 % 2, _FINDINGS[i // 4 % 2]])
  with (folder / "table").open("w", newline="") as file:
    names = ["file", "patient_id", "split", "Nodule", "findings"]
    csv.writer(file).writerows([names, *rows])
  (folder / "table").rename(table)
  return table


def tasks(folder: pathlib.Path) -> list[Task]:
  """Describes all programs on the films of a folder."""
  table = write_films(folder)

  def prepare(data_dir: pathlib.Path) -> list[str]:
    return [
      "-m",
      "scan42_jax.data.prepare",
      "--dataset=folder",
      f"--source={table.parent}",
      f"--labels_csv={table}",
      f"--data_dir={data_dir}",
      "--workers=1",
    ]

  data = f"--data_dir={folder / 'prepare' / 'whole'}"
  encoder = f"--encoder={folder / 'pretrain_1' / 'whole'}"

  def pretrain(workdir: pathlib.Path) -> list[str]:
    return ["-m", "scan42_jax.main", f"--workdir={workdir}", data, *_PRETRAIN]

  def finetune(workdir: pathlib.Path) -> list[str]:
    module = "scan42_jax.eval.classification"
    return ["-m", module, f"--workdir={workdir}", data, encoder, *_FINETUNE]

  def generate(workdir: pathlib.Path) -> list[str]:
    module = "scan42_jax.eval.report_generation"
    return ["-m", module, f"--workdir={workdir}", data, encoder, *_GENERATE]

  return [
    Task("prepare", prepare, _prepared),
    *[Task(f"pretrain_{n}", pretrain, _pretrained, n) for n in (1, 2, 4)],
    Task("finetune", finetune, _finetuned),
    Task("generate", generate, _generated),
  ]


_PRETRAIN = (
  "--config=configs/quickstart.py",
  "--config.data.datasets=('folder',)",
  "--config.batch_size=8",
  "--config.masks.group_images=2",
  "--config.objective.koleo_group=2",
  "--config.data.canvas_px=64",
  "--config.crops.global_size_px=32",
  "--config.crops.local_size_px=16",
  "--config.model.width=32",
  "--config.model.depth=2",
  "--config.model.num_heads=2",
  f"--config.schedule.total_steps={_STEPS}",
  "--config.schedule.warmup_steps=4",
  "--config.schedule.freeze_last_layer_steps=1",
  "--config.loop.log_every=1",
  "--config.loop.checkpoint_every=7",
  "--config.loop.monitor_every=0",
  "--config.loop.linear_probe=False",
)
_FINETUNE = (
  "--config=configs/eval/folder.py",
  "--config.protocol=finetune",
  "--config.data.canvas_px=64",
  "--config.report.draws=100",
  "--config.features.batch_size=8",
  "--config.finetune.steps=30",
  "--config.finetune.batch_size=8",
  "--config.finetune.warmup_steps=2",
  "--config.finetune.evaluate_every=5",
  "--config.finetune.patience=99",
)
_GENERATE = (
  "--config=configs/eval/phantom_reports.py",
  "--config.text.dataset=folder",
  "--config.text.max_report_tokens=24",
  "--config.small.vocab_size=300",
  "--config.small.width=16",
  "--config.small.depth=1",
  "--config.small.num_heads=2",
  "--config.training.first.steps=30",
  "--config.training.first.train=all",
  "--config.training.second.steps=0",
  "--config.training.sentence_weight=0.0",
  "--config.training.batch_size=8",
  "--config.training.evaluate_every=5",
  "--config.decoding.max_tokens=12",
  "--config.score.draws=100",
)


def _digest(value: bytes) -> str:
  return hashlib.sha256(value).hexdigest()[:16]


def _prepared(data_dir: pathlib.Path) -> dict[str, str]:
  """Shards and tables; no film may be there twice or not at all."""
  (version,) = (data_dir / "folder").glob("[0-9]*")
  found = {
    file.name: _digest(file.read_bytes())
    for file in sorted(version.iterdir())
    if file.suffix in (".csv",) or "array_record" in file.name
  }
  films = json.loads((version / "manifest.json").read_text())["films"]
  return found | {"films": json.dumps(films, sort_keys=True)}


def _pretrained(workdir: pathlib.Path) -> dict[str, str]:
  """Both networks, and every metric of every step: films seen are in these."""
  from scan42_jax import paths
  from scan42_jax.checkpoint import read_checkpoint

  found = {}
  for which in ("student", "teacher"):
    stored = read_checkpoint(workdir, which=which)
    for name, value in paths.flatten(stored.params).items():
      found[f"{which}/{name}"] = _digest(np.ascontiguousarray(value).tobytes())
  found["step"] = str(stored.step)
  rows = {}
  for line in (workdir / "metrics.jsonl").read_text().splitlines():
    try:
      row = json.loads(line)
    except ValueError:
      continue  # The kill came while it was written.
    rows[row["step"]] = row
  pace = ("images_per_second", "data_wait", "seconds_left", "model_tflop")
  found["steps"] = str(sorted(rows))
  for step, row in rows.items():
    kept = {k: v for k, v in row.items() if not k.startswith(pace)}
    found[f"metrics of step {step}"] = _digest(json.dumps(kept).encode())
  return found


def _finetuned(workdir: pathlib.Path) -> dict[str, str]:
  with np.load(workdir / "model.npz") as arrays:
    found = {name: _digest(arrays[name].tobytes()) for name in arrays.files}
  return found | _files(workdir, "predictions.csv")


def _generated(workdir: pathlib.Path) -> dict[str, str]:
  return _files(workdir, "*.csv") | _files(workdir, "texts/*.jsonl")


def _files(folder: pathlib.Path, pattern: str) -> dict[str, str]:
  found = sorted(folder.glob(pattern))
  if not found:
    raise FileNotFoundError(f"{folder} holds no {pattern}")
  return {str(f.relative_to(folder)): _digest(f.read_bytes()) for f in found}


def start(task: Task, workdir: pathlib.Path) -> list[subprocess.Popen]:
  """Starts all processes of a task."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  started = []
  for i in range(task.processes):
    where = []
    if task.processes > 1:
      where = [f"--coordinator=localhost:{port}", f"--process_id={i}"]
      where += [f"--num_processes={task.processes}"]
    with (workdir.parent / f"{workdir.name}.{i}.log").open("ab") as log:
      started.append(
        subprocess.Popen(
          [sys.executable, *task.command(workdir), *where],
          cwd=_ROOT,
          stdout=log,
          stderr=log,
        )
      )
  return started


def finish(processes: list[subprocess.Popen]) -> list[int]:
  """Waits for all; like a cluster, ends the rest once one has failed."""
  deadline = time.monotonic() + _LONGEST_S
  for process in processes:
    try:
      process.wait(max(deadline - time.monotonic(), 1))
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
  return [process.returncode for process in processes]


def whole_run(task: Task, folder: pathlib.Path) -> tuple[dict[str, str], float]:
  """Runs a task undisturbed; returns its results and how long it took."""
  workdir = folder / task.name / "whole"
  took = folder / task.name / "seconds.txt"
  if not took.exists():
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):  # The second finds everything compiled.
      shutil.rmtree(workdir, ignore_errors=True)
      begin = time.monotonic()
      codes = finish(start(task, workdir))
      if any(codes):
        raise RuntimeError(f"{task.name} ends with {codes}, see its log")
    took.write_text(str(time.monotonic() - begin))
  return task.results(workdir), float(took.read_text())


def newest_checkpoint(workdir: pathlib.Path) -> int:
  """Returns the newest finished step, 0 if there is none."""
  folders = (workdir / "checkpoints").glob("*")
  return max((int(f.name) for f in folders if f.name.isdigit()), default=0)


def _await_moment(
  victim: subprocess.Popen,
  folder: pathlib.Path,
  seconds: float,
  rng: random.Random,
) -> None:
  """Waits until a random moment of a process's life, or its end.

  Between two lines of output where there are many, for the pace of a shared
  machine changes; else by the clock.
  """
  lines = (folder / "whole.0.log").read_bytes().count(b"\n") // 2  # Two runs.
  log, wanted = folder / "killed.0.log", rng.randrange(max(lines, 1))
  deadline = time.monotonic() + rng.uniform(0.1, 0.8) * seconds
  while victim.poll() is None:
    if lines < 10 and time.monotonic() > deadline:
      return
    if lines >= 10 and log.read_bytes().count(b"\n") >= wanted:
      time.sleep(rng.uniform(0, 0.3))
      return
    time.sleep(0.01)


def trial(
  task: Task, folder: pathlib.Path, rng: random.Random
) -> dict[str, object]:
  """Kills a task once and lets it go on."""
  expected, seconds = whole_run(task, folder)
  workdir = folder / task.name / "killed"
  shutil.rmtree(workdir, ignore_errors=True)
  for log in workdir.parent.glob("killed.*.log"):
    log.unlink()
  number = rng.choice((signal.SIGTERM, signal.SIGKILL))
  victim = rng.randrange(task.processes)
  processes = start(task, workdir)
  begin = time.monotonic()
  _await_moment(processes[victim], workdir.parent, seconds, rng)
  moment = time.monotonic() - begin
  hit = processes[victim].poll() is None
  processes[victim].send_signal(number)
  codes = finish(processes)
  saved = newest_checkpoint(workdir) if task.name.startswith("pre") else 0
  again = finish(start(task, workdir))
  row = {
    "task": task.name,
    "signal": number.name,
    "process": victim,
    "after_s": round(moment, 1),
    "hit": hit,
    "codes": codes,
    "codes_again": again,
  }
  if task.name.startswith("pretrain"):
    log = (workdir.parent / "killed.0.log").read_text(errors="replace")
    went_on = [
      int(x.split()[-1]) for x in log.splitlines() if "resumed at" in x
    ]
    row |= {"saved": saved, "resumed": went_on[-1] if went_on else 0}
    row["lost"] = saved != row["resumed"] and "nothing to do" not in log
  try:
    found = task.results(workdir)
    row["differs"] = sorted(
      k for k in expected | found if expected.get(k) != found.get(k)
    )[:5]
  except (OSError, ValueError) as error:
    row["differs"] = [str(error)]
  row["good"] = not any(again) and not row["differs"] and not row.get("lost")
  return row


def main(argv: list[str]) -> None:
  """Runs the trials and prints what came of them."""
  del argv
  logging.set_verbosity(logging.WARNING)
  folder = pathlib.Path(flags.FLAGS.folder).expanduser().absolute()
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
  # These programs run for seconds; compiling them well takes minutes.
  os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
  rng = random.Random(flags.FLAGS.seed)
  wanted = tasks(folder)
  for task in wanted[:2]:  # The others need films and an encoder.
    whole_run(task, folder)
  if flags.FLAGS.tasks:
    wanted = [task for task in wanted if task.name in flags.FLAGS.tasks]
  good = hits = 0
  for _ in range(flags.FLAGS.trials):
    row = trial(rng.choice(wanted), folder, rng)
    with (folder / "trials.jsonl").open("a") as file:
      print(json.dumps(row), file=file)
    print(json.dumps(row), flush=True)
    good, hits = good + row["good"], hits + row["hit"]
  print(f"{good} of {flags.FLAGS.trials} good, {hits} hit a running process")
  sys.exit(good < flags.FLAGS.trials)


if __name__ == "__main__":
  flags.DEFINE_string("folder", None, "Work folder.", required=True)
  flags.DEFINE_integer("trials", 50, "How many.", 1)
  flags.DEFINE_integer("seed", 0, "Of programs, signals and moments.")
  flags.DEFINE_list("tasks", [], "Names of tasks; default: all.")
  app.run(main)
