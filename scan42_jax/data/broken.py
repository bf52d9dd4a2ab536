"""What training does about films that cannot be read: a neighbour stands in.

A run of weeks must not end for one damaged record, and must not go on when a
whole shard or disk has gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

_SHOWN = 10  # Each of the first films gets a line, the rest are counted.


class BrokenFilms:
  """Counts the films that could not be read; several threads may tell it.

  Args:
    most: films that may be broken; one more ends the run.
    say: takes a line for the user.
  """

  def __init__(self, most: int, *, say: Callable[[str], None]):
    self._most, self._say = most, say
    self._films: set[tuple[str, int]] = set()
    self._lock = threading.Lock()

  @property
  def count(self) -> int:
    """Different films that could not be read by this process."""
    return len(self._films)

  def add(self, dataset: str, position: int, reason: str) -> None:
    """Takes a film that could not be read; those known already do not count.

    Args:
      dataset: name of it.
      position: of the film in its split.
      reason: one line.

    Raises:
      ValueError: there are too many.
    """
    with self._lock:
      if (dataset, position) in self._films:
        return
      self._films.add((dataset, position))
      count = len(self._films)
    if count > self._most:
      raise ValueError(
        f"{count} films could not be read, config.data.max_broken_films is"
        f" {self._most}; the last is film {position} of {dataset}: {reason}"
      )
    if count <= _SHOWN:
      self._say(
        f"film {position} of {dataset} cannot be read, the next stands in"
        f" ({count} so far): {reason}"
      )
