"""Checkpoints that can be trusted: written in the background, verified on use.

A step's folder holds the state, the resolved configuration as plain JSON, and
`sha256.json`, the digest of its files: orbax restores a flipped byte without a
word. The position in the data is `state.step`. The only importer of orbax.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from scan42_jax import digests, distributed, whole_files

logger = logging.getLogger(__name__)


class Checkpoints:
  """The checkpoints of one work folder.

  Args:
    workdir: work folder; checkpoints go to its `checkpoints/`.
    keep: newest ones to keep, besides the one marked as good.
  """

  def __init__(self, workdir: pathlib.Path, *, keep: int):
    self._folder = (workdir / "checkpoints").absolute()
    self._good = _GoodStep(workdir / "last_good_checkpoint.txt")
    self._failed = False
    for name in ("absl", "asyncio"):
      logging.getLogger(name).addFilter(_told_by_us)
    self._manager = ocp.CheckpointManager(
      self._folder,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(
          [policies.LatestN(keep), self._good]
        ),
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(
          post_finalization_callback=self._write_digests
        ),
      ),
    )

  def save(self, step: int, state: Any, config: dict[str, Any]) -> None:
    """Starts writing a step; returns once the state is copied to the host.

    Raises:
      OSError: this step or the one before it cannot be written.
    """
    with self._writing():
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state), config=ocp.args.JsonSave(config)
        ),
      )

  def restore(
    self, template: Any, accept: Callable[[dict[str, Any]], None]
  ) -> Any | None:
    """Returns the newest state that verifies, None in a new folder.

    Damaged steps are reported and removed: orbax would refuse to save below
    them.

    Args:
      template: ShapeDtypeStructs with shardings; any mesh will do.
      accept: gets the stored configuration and raises if the state cannot
        belong to this run.

    Raises:
      ValueError: there are checkpoints, and none of them can be used.
    """
    steps = sorted(self._manager.all_steps(), reverse=True)
    for step in steps:
      config = self._attempt(step, self._read_config)
      if config is None:
        continue
      accept(config)
      state = self._attempt(
        step,
        lambda step: (
          self._read(step, state=ocp.args.StandardRestore(template)).state
        ),
      )
      if state is not None:
        return state
    if steps:
      raise ValueError(
        f"none of the checkpoints in {self._folder} can be read (see above):"
        " start again with another --workdir"
      )
    return None

  def mark_good(self, step: int) -> None:
    """Keeps a step however old it gets, until another one is marked.

    Call it before the step is saved; the mark outlives the process.
    """
    self._good.step = step

  @property
  def good_step(self) -> int | None:
    """The step that was marked last."""
    return self._good.step

  def reached_preemption(self, step: int) -> bool:
    """Whether the cluster asked all processes to stop at this step."""
    return self._manager.reached_preemption(step)

  def wait(self) -> None:
    """Blocks until everything is on disk.

    Raises:
      OSError: it cannot be written.
    """
    with self._writing():
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits and frees orbax's threads."""
    if self._failed:  # It has been told, and would be raised again.
      return
    with self._writing():
      self._manager.close()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # Of orbax, tensorstore, JAX or the system.
      self._failed = True
      if distributed.is_failure_elsewhere(error):
        raise
      reason = (str(error).splitlines() or [type(error).__name__])[0]
      # Tensorstore names the array and each database first, the cause last.
      reason = reason.rpartition('": ')[2][:300]
      raise OSError(
        f"a checkpoint could not be written to {self._folder} ({reason}); older"
        " ones are intact: make room and run the same command to go on"
      ) from error

  def _attempt(self, step: int, read: Callable[[int], Any]) -> Any | None:
    """Reads something of a step, or sets the step aside and returns None."""
    found, error = None, ValueError("another process cannot read it")
    try:
      found = read(step)
    except Exception as caught:  # Orbax raises anything on a cut file.
      error = caught
    if distributed.all_agree(found is not None):
      return found
    self._discard(step, error)
    return None

  def _read_config(self, step: int) -> dict[str, Any]:
    if jax.process_index() == 0:  # It reads every file; once is enough.
      digests.verify(self._folder / str(step))
    return self._read(step, config=ocp.args.JsonRestore()).config

  def _read(self, step: int, **items: Any) -> Any:
    return self._manager.restore(step, args=ocp.args.Composite(**items))

  def _discard(self, step: int, error: Exception) -> None:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    logger.warning(
      "checkpoint %d is damaged and left out: %s", step, reason[:300]
    )
    if jax.process_index() == 0:
      folder = self._folder / str(step)
      folder.rename(self._folder.parent / f"damaged_checkpoint_{step}")
    # The others look again only once it is out of the way.
    distributed.all_agree(True)
    self._manager.reload()

  def _write_digests(self) -> None:
    """Runs in orbax's thread, just before a step's folder gets its name."""
    if jax.process_index() != 0:
      return
    for folder in self._folder.glob("*orbax-checkpoint-tmp*"):
      digests.write(folder)


def _told_by_us(record: logging.LogRecord) -> bool:
  """Drops the tracebacks of orbax's threads: the same error is raised, too."""
  theirs = record.name == "asyncio" or "orbax" in record.pathname
  return not (theirs and record.levelno >= logging.ERROR)


class _GoodStep(policies.PreservationPolicy):
  """Preserves the step that a file names."""

  def __init__(self, file: pathlib.Path):
    self._file = file
    # Kept in memory: other processes read while the first one writes.
    self._step = int(file.read_text()) if file.is_file() else None

  @property
  def step(self) -> int | None:
    return self._step

  @step.setter
  def step(self, step: int) -> None:
    self._step = step
    if jax.process_index() == 0:
      whole_files.write_text(self._file, f"{step}\n")

  def should_preserve(self, checkpoints, *, context):
    del context
    return [checkpoint.step == self.step for checkpoint in checkpoints]


def read_state(
  workdir: pathlib.Path, template: Any, *, at_most: int
) -> Any | None:
  """Reads a whole state and changes nothing in the work folder.

  Args:
    workdir: of a run.
    template: ShapeDtypeStructs with shardings.
    at_most: the newest step that verifies up to this one is read.

  Returns:
    The state, or None if there is no such step.
  """
  root = (workdir / "checkpoints").absolute()
  names = [p.name for p in root.glob("*") if p.name.isdigit()]
  steps = sorted((int(n) for n in names if int(n) <= at_most), reverse=True)
  for step in steps:
    try:
      digests.verify(root / str(step))
    except ValueError as error:
      logger.warning("checkpoint %d is left out: %s", step, error)
      continue
    handler = ocp.CompositeCheckpointHandler(
      state=ocp.StandardCheckpointHandler()
    )
    with ocp.Checkpointer(handler) as reader:
      wanted = ocp.args.Composite(state=ocp.args.StandardRestore(template))
      return reader.restore(root / str(step), args=wanted).state
  return None


@dataclasses.dataclass(frozen=True)
class Stored:
  """What a checkpoint holds of a run, read without any mesh.

  Attributes:
    step: its step.
    config: the resolved settings as plain JSON.
    params: parameters of one network as numpy arrays.
  """

  step: int
  config: dict[str, Any]
  params: Any


def read_checkpoint(
  workdir: pathlib.Path,
  *,
  step: int | None = None,
  which: Literal["teacher", "student"] = "teacher",
) -> Stored:
  """Reads one network of a work folder, after its files were verified.

  Args:
    workdir: of a run.
    step: which checkpoint; None takes the newest that verifies.
    which: network.

  Raises:
    FileNotFoundError: no such work folder, no checkpoint, or no such step.
    ValueError: what was asked for is damaged.
  """
  root = workdir / "checkpoints"
  steps = _steps(workdir)
  if step is not None:
    if step not in steps:
      raise FileNotFoundError(
        f"{root} has no step {step}; it has {', '.join(map(str, steps))}"
      )
    digests.verify(root / str(step))
    return _read_stored(root, step, which)
  for newest in reversed(steps):
    try:
      digests.verify(root / str(newest))
    except ValueError as error:
      logger.warning("checkpoint %d is left out: %s", newest, error)
      continue
    return _read_stored(root, newest, which)
  raise ValueError(f"{root} holds no checkpoint that can be read")


def _steps(workdir: pathlib.Path) -> list[int]:
  """Returns the finished steps of a work folder, at least one."""
  if not workdir.is_dir():
    raise FileNotFoundError(f"{workdir}: no such work folder")
  folders = (workdir / "checkpoints").glob("*")
  steps = sorted(int(p.name) for p in folders if p.name.isdigit())
  if not steps:
    raise FileNotFoundError(
      f"{workdir} holds no checkpoint; name the --workdir of a run that saved"
      " one"
    )
  return steps


def _read_stored(root: pathlib.Path, step: int, which: str) -> Stored:
  folder = (root / str(step)).absolute()
  # Of the whole step, not of an item: orbax keeps its own metadata there, and
  # warns of every folder that has none.
  handler = ocp.CompositeCheckpointHandler(
    state=ocp.PyTreeCheckpointHandler(), config=ocp.JsonCheckpointHandler()
  )
  with ocp.Checkpointer(handler) as reader:
    shapes = reader.metadata(folder).item_metadata["state"].tree[which]
    arrays = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes
    )
    stored = reader.restore(
      folder,
      args=ocp.args.Composite(
        state=ocp.args.PyTreeRestore(
          item={which: shapes},
          restore_args={which: arrays},
          partial_restore=True,
        ),
        config=ocp.args.JsonRestore(),
      ),
    )
  return Stored(step=step, config=stored.config, params=stored.state[which])
