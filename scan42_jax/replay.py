"""Goes through one step of a run again, exactly, and shows what came of it.

  python -m scan42_jax.replay WORKDIR --step=N

Starts from the newest checkpoint before the step, or from the start, with the
settings and films of the crash bundle that a run leaves when an error ends it;
a run that did not crash needs --data_dir. Changes nothing in the work folder.
Exit code 0: the metrics are those recorded, or none were; 3: they differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import pathlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from absl import app, flags, logging

from scan42_jax import command_line

if TYPE_CHECKING:
  from scan42_jax.settings import Settings

_STEP = flags.DEFINE_integer(
  "step", None, "Step to go through; default: the one that ended the run.", 1
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", None, "Folder of the prepared datasets; default: the run's."
)
_DIFFERS = 3


@dataclasses.dataclass(frozen=True)
class Replayed:
  """What came of a step.

  Attributes:
    step: its number.
    films: index, dataset and position of each film.
    metrics: of the step.
    recorded: what the run itself recorded of it; {} if nothing.
    remark: one line on what makes small differences likely, "" if nothing does.
  """

  step: int
  films: list[dict]
  metrics: Mapping[str, float]
  recorded: Mapping[str, float]
  remark: str

  @property
  def differing(self) -> list[str]:
    """Names of metrics that are not, bit for bit, what was recorded."""
    return [
      name
      for name, value in self.recorded.items()
      if not _same(value, self.metrics[name])
    ]


def replay(
  workdir: pathlib.Path,
  *,
  step: int | None = None,
  data_dir: pathlib.Path | None = None,
) -> Replayed:
  """Goes through a step of a run again.

  Args:
    workdir: of the run.
    step: its number; None takes the one that the crash bundle names.
    data_dir: prepared datasets; None takes those of the crash bundle.

  Raises:
    FileNotFoundError, ValueError: one line on what is missing.
  """
  # Imported here, so that --help and a wrong flag are answered at once.
  import jax

  from scan42_jax import crash
  from scan42_jax.checkpoint import read_state
  from scan42_jax.program import compile_step, make_training_mesh
  from scan42_jax.settings import adopt_encoder
  from scan42_jax.train import Run
  from scan42_jax.weights.initial import load_initial

  bundle = crash.read_bundle(workdir)
  settings = _settings(workdir, bundle)
  step = step or bundle.get("step")
  folder = data_dir or bundle.get("data_dir")
  if not step or not folder:
    raise ValueError(
      f"{workdir} holds no crash bundle: give --step=N and --data_dir=DIR"
    )
  initial = load_initial(settings.init_from) if settings.init_from else None
  if initial:
    settings = adopt_encoder(settings, initial.config)
  mesh = make_training_mesh(settings)
  with jax.set_mesh(mesh):
    run = Run(settings, mesh, initial=initial, data_dir=pathlib.Path(folder))
    state = read_state(workdir, run.template(), at_most=step - 1)
    state = run.start() if state is None else state
    done = int(state.step)
    print(f"starts at step {done}", flush=True)
    train_step = compile_step(settings, mesh)
    with contextlib.closing(run.stream(done)) as stream:
      for _ in range(done, step):
        state, metrics = train_step(state, run.place(next(stream)))
    metrics = jax.device_get(metrics)
  return Replayed(
    step=step,
    films=run.facts(step)["films"],
    metrics={name: float(value) for name, value in metrics.items()},
    recorded=crash.recorded_metrics(bundle, step),
    remark=_remark(bundle, run.facts(step)),
  )


def _settings(workdir: pathlib.Path, bundle: Mapping) -> Settings:
  from scan42_jax.settings import from_json

  if bundle:
    return from_json(bundle["config"])
  file = workdir / "config.json"
  if not file.is_file():
    raise FileNotFoundError(f"{file}: no such file; is it a --workdir?")
  return from_json(json.loads(file.read_text()))


def _remark(bundle: Mapping, facts: Mapping) -> str:
  """Says what else differs from the run that is replayed."""
  from scan42_jax import crash

  if not bundle:
    return ""
  before, now = bundle["environment"], crash.environment()
  changed = [
    f"{name} {before.get(name)} there, {now[name]} here"
    for name in now
    if before.get(name) != now[name]
  ]
  if bundle["data"] != facts["data"]:
    changed.append("the films are others")
  return "; ".join(changed)


def _same(a: float, b: float) -> bool:
  return a == b or (math.isnan(a) and math.isnan(b))


def show(result: Replayed) -> None:
  """Prints films, metrics and whether they are what was recorded."""
  for film in result.films:
    print("film {index}: {dataset} {position}".format(**film))
  for name, value in sorted(result.metrics.items()):
    old = result.recorded.get(name)
    print(f"{name} {value!r}" + ("" if old is None else f" (was {old!r})"))
  if result.remark:
    print(f"not the same surroundings: {result.remark}")
  if not result.recorded:
    print(f"step {result.step}: nothing was recorded to compare it with")
  elif result.differing:
    print(f"step {result.step} differs in {', '.join(result.differing)}")
  else:
    print(f"step {result.step} is what was recorded, bit for bit")


def main(argv: list[str]) -> None:
  """Replays; a user's mistake ends in one line and exit code 1."""
  if len(argv) != 2:
    command_line.stop("name one work folder: replay WORKDIR --step=N")
  data_dir = _DATA_DIR.value
  try:
    result = replay(
      pathlib.Path(argv[1]).expanduser(),
      step=_STEP.value,
      data_dir=pathlib.Path(data_dir).expanduser() if data_dir else None,
    )
  except (ValueError, OSError) as error:
    command_line.explain(error)
  show(result)
  sys.exit(_DIFFERS if result.differing else 0)


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=command_line.parse_flags)
