"""Tells how a run is doing, from the files in its work folder alone.

  python -m scan42_jax.status WORKDIR

Exit code 0: starting, running or finished; 1: nothing to tell; 2: stalled; 3:
ended with an error; 4: the newest checkpoint is damaged. Imports no JAX: it
answers at once and beside a run that holds all devices.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from absl import app, flags

from scan42_jax import command_line, digests

_PATIENCE = flags.DEFINE_float(
  "patience", 5.0, "Usual intervals without metrics until a run is stalled.", 1
)
_VERIFY = flags.DEFINE_bool(
  "verify", True, "Read the newest checkpoint and compare its digests."
)

EXIT_CODES = {
  "starting": 0,
  "running": 0,
  "finished": 0,
  "stalled": 2,
  "failed": 3,
  "damaged": 4,
}
# Compiling, monitors and saving write no metrics; none should take longer.
_SHORTEST_PATIENCE_S = 120.0
_START_S = 3600.0
_RECENT = 20  # Logged steps that the pace is taken from.


@dataclasses.dataclass(frozen=True)
class Pace:
  """How fast a run goes, as the median of its last logged steps.

  Attributes:
    images_per_second: films of all devices.
    steps_per_second: of the optimizer.
    interval_s: time between two lines of metrics.
  """

  images_per_second: float
  steps_per_second: float
  interval_s: float


@dataclasses.dataclass(frozen=True)
class Saved:
  """The newest checkpoint, and the newest that can be used.

  Attributes:
    newest: step, None if there is no checkpoint.
    usable: newest step that verifies, or `newest` where nothing was verified.
    verified: whether digests were compared.
    problem: what is wrong with the newest, "" if nothing is.
    good: the step that drift monitors marked, None if none did.
  """

  newest: int | None
  usable: int | None
  verified: bool
  problem: str
  good: int | None


@dataclasses.dataclass(frozen=True)
class Status:
  """What can be told of a run.

  Attributes:
    state: a key of EXIT_CODES.
    reason: one line on a state that is not well.
    step: last logged one.
    total_steps: of the run.
    metrics: of the last logged step.
    pace: None before the first metrics.
    silent_s: seconds since the last metrics.
    skipped: logged steps with a step skipped since the one before.
    unreadable: lines of metrics.jsonl that are no JSON.
    saved: checkpoints.
  """

  state: str
  reason: str
  step: int
  total_steps: int
  metrics: dict[str, Any]
  pace: Pace | None
  silent_s: float
  skipped: list[int]
  unreadable: int
  saved: Saved


def read_status(
  workdir: pathlib.Path, *, now: float, patience: float, verify: bool
) -> Status:
  """Reads a work folder and judges it.

  Args:
    workdir: of a run.
    now: seconds since the epoch.
    patience: usual intervals without metrics until a run is stalled.
    verify: whether to read checkpoints and compare their digests.

  Raises:
    FileNotFoundError: there is no run.
    ValueError: config.json is not that of a run.
  """
  config_file = workdir / "config.json"
  if not config_file.is_file():
    raise FileNotFoundError(f"{config_file}: no such file; is it a --workdir?")
  batch_size, total_steps = _plan(config_file)
  rows, unreadable = _read_rows(workdir / "metrics.jsonl")
  step = max(rows, default=0)
  pace = _pace(rows, batch_size)
  saved = _read_saved(workdir, verify=verify)
  # A call that resumes writes the config long before its first metrics.
  silent_s = now - max(
    file.stat().st_mtime
    for file in (config_file, workdir / "metrics.jsonl")
    if file.exists()
  )
  wait_s = _START_S
  if pace:
    wait_s = max(patience * pace.interval_s, _SHORTEST_PATIENCE_S)
  state, reason = "running" if rows else "starting", ""
  since = now - silent_s
  error = _error(workdir / "traceback.txt", since=since) or _hang(
    workdir, since=since
  )
  if error:
    state, reason = "failed", error
  elif saved.problem:
    state, reason = "damaged", saved.problem
  elif step >= total_steps:
    state = "finished"
  elif silent_s > wait_s:
    state, reason = "stalled", "no new metrics: it hangs, or was stopped"
  return Status(
    state=state,
    reason=reason,
    step=step,
    total_steps=total_steps,
    metrics=rows.get(step, {}),
    pace=pace,
    silent_s=max(silent_s, 0.0),
    skipped=[n for n in rows if (rows[n].get("skipped_in_a_row") or 0) > 0],
    unreadable=unreadable,
    saved=saved,
  )


def _error(traceback: pathlib.Path, *, since: float) -> str:
  """Returns what ended the last call, "" if no error did."""
  if not traceback.is_file() or traceback.stat().st_mtime < since:
    return ""
  lines = traceback.read_text(errors="replace").strip().splitlines()
  return lines[-1] if lines else "see traceback.txt"


def _hang(workdir: pathlib.Path, *, since: float) -> str:
  """Returns where a process that hung left its stacks, "" if none did."""
  for file in sorted(workdir.glob("hung_*.txt")):
    facts = file.stat()
    if facts.st_size and facts.st_mtime >= since:
      return f"hung; its threads' stacks are in {file}"
  return ""


def _plan(config_file: pathlib.Path) -> tuple[int, int]:
  """Returns batch size and total steps."""
  try:
    config = json.loads(config_file.read_text())
    return int(config["batch_size"]), int(config["schedule"]["total_steps"])
  except (ValueError, LookupError, TypeError) as error:
    raise ValueError(
      f"{config_file} is not the config.json of a pretraining run"
    ) from error


def _read_rows(file: pathlib.Path) -> tuple[dict[int, dict[str, Any]], int]:
  """Returns the rows of training steps by step, and how many are unreadable.

  A run that resumed wrote some steps twice: of these, and of all that lie after
  the step it went back to, the later lines count.
  """
  rows: dict[int, dict[str, Any]] = {}
  unreadable = 0
  lines = file.read_text(errors="replace").splitlines() if file.exists() else []
  for line in lines:
    try:
      row = json.loads(line)
      step = int(row["step"])
    except (ValueError, LookupError, TypeError):
      unreadable += 1  # The process was killed, or is just writing it.
      continue
    if "images_per_second" in row:
      rows = {n: old for n, old in rows.items() if n < step} | {step: row}
  return rows, unreadable


def _pace(rows: dict[int, dict[str, Any]], batch_size: int) -> Pace | None:
  recent = list(rows)[-_RECENT:]
  rates = [rows[step]["images_per_second"] for step in recent]
  rates = [rate for rate in rates if rate]
  if not rates:
    return None
  images = statistics.median(rates)
  gaps = [b - a for a, b in itertools.pairwise(recent)] or recent
  steps = images / batch_size
  return Pace(images, steps, statistics.median(gaps) / steps)


def _read_saved(workdir: pathlib.Path, *, verify: bool) -> Saved:
  folders = {
    int(folder.name): folder
    for folder in (workdir / "checkpoints").glob("*")
    if folder.name.isdigit()
  }
  steps = sorted(folders, reverse=True)
  problem, usable = "", None
  for step in steps:
    try:
      if verify:
        digests.verify(folders[step])
    except (ValueError, OSError) as error:
      problem = problem or str(error)
      continue
    usable = step
    break
  good = workdir / "last_good_checkpoint.txt"
  return Saved(
    newest=max(folders, default=None),
    usable=usable,
    verified=verify,
    problem=problem,
    good=int(good.read_text()) if good.is_file() else None,
  )


def lines(status: Status) -> Iterator[str]:
  """Yields what a person reads."""
  yield _line("state", status.state, status.reason)
  done = status.step / status.total_steps
  yield _line("step", f"{status.step} of {status.total_steps} ({done:.1%})")
  pace = status.pace
  if pace:
    left = (status.total_steps - status.step) / pace.steps_per_second
    yield _line(
      "rate",
      f"{pace.images_per_second:.1f} images/s",
      f"{pace.steps_per_second:.3g} steps/s",
    )
    yield _line("time left", _duration(max(left, 0.0)))
    yield _line(
      "last metrics",
      f"{_duration(status.silent_s)} ago",
      f"usually every {_duration(pace.interval_s)}",
    )
  if status.metrics.get("data_wait") is not None:
    yield _line("data wait", f"{status.metrics['data_wait']:.0%}")
  if status.metrics:
    loss = status.metrics.get("loss")
    yield _line("loss", "not finite" if loss is None else f"{loss:.4f}")
  yield _line("skipped", _skipped(status))
  yield from _saved_lines(status.saved)
  if status.unreadable:
    yield _line("unreadable", f"{status.unreadable} lines of metrics.jsonl")


def _skipped(status: Status) -> str:
  if not status.skipped:
    return "no steps"
  return (
    f"steps before {len(status.skipped)} logged ones, the last up to step"
    f" {status.skipped[-1]}"
  )


def _saved_lines(saved: Saved) -> Iterator[str]:
  if saved.newest is None:
    yield _line("checkpoint", "none yet")
  elif saved.problem:
    older = f"step {saved.usable}" if saved.usable is not None else "none"
    yield _line("checkpoint", f"step {saved.newest} is damaged")
    yield _line("usable", older)
  else:
    word = "digests verify" if saved.verified else "not verified"
    yield _line("checkpoint", f"step {saved.newest}", word)
  if saved.good is not None:
    yield _line("last good", f"step {saved.good}")


def _line(name: str, *values: str) -> str:
  return f"{name:<13}{', '.join(value for value in values if value)}"


def _duration(seconds: float) -> str:
  return str(datetime.timedelta(seconds=round(seconds)))


def main(argv: list[str]) -> None:
  """Prints the status and ends with its exit code."""
  if len(argv) != 2:
    command_line.stop("name one work folder: status WORKDIR")
  try:
    status = read_status(
      pathlib.Path(argv[1]).expanduser(),
      now=time.time(),
      patience=_PATIENCE.value,
      verify=_VERIFY.value,
    )
  except (ValueError, OSError) as error:
    command_line.explain(error)
  print("\n".join(lines(status)))
  sys.exit(EXIT_CODES[status.state])


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parse_flags)
