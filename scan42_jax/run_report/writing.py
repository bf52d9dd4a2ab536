"""Writes the page of a run beside its metrics while it goes.

One process writes. The page is made of the work folder's own files in a thread
of its own, so that no step waits for it, and what goes wrong there never ends a
run.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from scan42_jax.run_report import pictures
from scan42_jax.run_report.page import render_comparison, render_run
from scan42_jax.run_report.story import (
  PICTURES,
  Story,
  read_story,
  schedule_curves,
)
from scan42_jax.settings import Settings
from scan42_jax.types import Films, Float, UInt8

REPORT = "report.html"


class RunReport:
  """Keeps a run's page up to date.

  Args:
    workdir: of the run.
    settings: of the run.
    active: whether this process writes; one of them should.
    say: takes a line for the user.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    settings: Settings,
    *,
    active: bool,
    say: Callable[[str], None],
  ):
    self._workdir, self._settings, self._say = workdir, settings, say
    self._started = False
    self._pool = None
    self._going: concurrent.futures.Future | None = None
    if active:
      self._pool = concurrent.futures.ThreadPoolExecutor(1)
      # Now and not in the midst of training, for it takes the device.
      self._alone(schedule_curves, settings.schedule, settings.batch_size)

  def see(self, films: Films) -> None:
    """Begins the page, with crops of the first films of this call of the run.

    Does nothing when it is called again.
    """
    if self._started or self._pool is None:
      return
    self._started = True
    count = self._settings.loop.report_films
    if count:
      picture = self._alone(
        pictures.draw_crops, films, self._settings, count=count
      )
      self._store("crops.png", picture)
    self.refresh()

  def add_components(
    self,
    step: int,
    pixels: UInt8[np.ndarray, "N s s"],
    patches: Float[np.ndarray, "N h w D"],
  ) -> None:
    """Draws held-out films and the components of their patches."""
    if self._pool is not None and np.isfinite(patches).all():
      picture = pictures.draw_components(pixels, patches)
      self._store(f"components_{step:09d}.png", picture)

  def refresh(self) -> None:
    """Has the page written again, unless that is just being done."""
    if self._pool is not None and (self._going is None or self._going.done()):
      self._going = self._pool.submit(self._write)

  def close(self) -> None:
    """Writes the page for the last time."""
    if self._pool is not None:
      self._pool.shutdown()
      self._write()

  def _alone(self, function: Callable, *args, **options):
    """Computes on one device of this process, whatever the run's mesh is.

    The mesh of the run holds in the main thread alone: there, every process
    would have to take part.
    """
    return self._pool.submit(function, *args, **options).result()

  def _write(self) -> None:
    try:
      write_report([self._workdir], self._workdir / REPORT)
    except (OSError, ValueError) as error:
      self._say(f"warning: {REPORT} was not written: {error}")

  def _store(self, name: str, picture: bytes) -> None:
    try:
      folder = self._workdir / PICTURES
      folder.mkdir(exist_ok=True)
      (folder / name).write_bytes(picture)
    except OSError as error:
      self._say(f"warning: {name} was not written: {error}")


def write_report(
  workdirs: Sequence[pathlib.Path], output: pathlib.Path
) -> None:
  """Writes the page of one run, or the comparison of several.

  Raises:
    ValueError, OSError: a folder holds no run, or the page cannot be written.
  """
  stories = [read_story(workdir) for workdir in workdirs]
  if len(stories) == 1:
    text = render_run(stories[0])
  else:
    text = render_comparison(_told_apart(stories, workdirs))
  # A browser that reloads never sees half a page.
  beside = output.with_name(f"{output.name}.tmp")
  beside.write_text(text, encoding="utf-8")
  beside.replace(output)


def _told_apart(
  stories: Sequence[Story], workdirs: Sequence[pathlib.Path]
) -> list[Story]:
  """Names runs by their folders, by whole paths where those are alike."""
  names = [story.name for story in stories]
  return [
    story
    if names.count(story.name) == 1
    else dataclasses.replace(story, name=str(workdir))
    for story, workdir in zip(stories, workdirs, strict=True)
  ]
