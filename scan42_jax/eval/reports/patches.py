"""What a decoder is shown of films, kept on disk where it fits.

Patch tokens of an encoder that is frozen; of one that learns, the films as it
takes them.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from scan42_jax.data.images import decode_film
from scan42_jax.data.sources import FilmSource
from scan42_jax.encoder import Encoder, prepare_film
from scan42_jax.types import Float, UInt8

Seen = Callable[[Sequence[int]], np.ndarray]
"""Places in a source -> patch tokens [N, P, W], or prepared films [N, H, W]."""

_BATCH = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Viewer:
  """Shows pictures to a decoder.

  Attributes:
    encoder: of the patch tokens; its preprocessing is that of the pictures.
    prepared: show pictures as the encoder takes them, rather than its tokens.
  """

  encoder: Encoder
  prepared: bool

  @property
  def dtype(self) -> type[np.generic]:
    """That keeps what is shown, and loses nothing of it."""
    return np.uint8 if self.prepared else np.float16

  def __call__(
    self, pictures: Sequence[UInt8[np.ndarray, "_ _"]]
  ) -> Float[np.ndarray, "N P W"] | UInt8[np.ndarray, "N H W"]:
    """What is shown of pictures."""
    if self.prepared:
      return self._prepare(pictures)
    tokens = self.encoder(pictures, batch_size=len(pictures)).patches
    # Rounded here, so that tokens from disk and fresh ones are the same.
    kept = tokens.astype(self.dtype).astype(np.float32)
    return kept.reshape(len(kept), -1, kept.shape[-1])

  def _prepare(self, pictures) -> UInt8[np.ndarray, "N H W"]:
    how = self.encoder.preprocessing
    with concurrent.futures.ThreadPoolExecutor() as pool:
      films = list(pool.map(lambda film: prepare_film(film, how), pictures))
    shapes = {film.shape for film in films}
    if len(shapes) > 1:
      raise ValueError(
        f"films become of several shapes, {min(shapes)} and {max(shapes)}: set"
        " config.film_px to show whole films as squares"
      )
    return np.stack(films)


class FilmPatches:
  """Shows films of a split whenever they are asked for.

  Args:
    encoder: see Viewer.
    source: of the films.
    prepared: see Viewer.

  Attributes:
    source: of the films.
    show: shows any pictures as it does those of the source.

  Raises:
    ValueError: the films are stored equalised, and the encoder wants others.
  """

  def __init__(self, encoder: Encoder, source: FilmSource, *, prepared: bool):
    if source.equalized:
      if not encoder.preprocessing.equalize:
        raise ValueError(
          f"dataset {source.name} is stored equalised, and this encoder wants"
          " films that are not: prepare it without --published"
        )
      encoder = encoder.with_preprocessing(equalize=False)
    self.source = source
    self.show = Viewer(encoder, prepared)

  def __call__(self, films: Sequence[int]) -> np.ndarray:
    """What is shown of films, by their place in the source."""
    return self.show([self.film(f) for f in films])

  def film(self, film: int) -> UInt8[np.ndarray, "H W"]:
    """The picture of one film."""
    return decode_film(self.source[int(film)]["image"])

  def grid(self) -> tuple[int, int]:
    """Rows and columns of patches."""
    return self.show.encoder([self.film(0)]).patches.shape[1:3]


class StoredPatches:
  """What is shown of films in one file, filled once; resumed where it ended.

  Args:
    films: what shows them.
    path: of the file; its progress is kept beside it.
    number: films to keep, from the first on.
    identity: of encoder and films; a file of another one is made anew.
    say: takes a line for the user.
  """

  def __init__(
    self,
    films: FilmPatches,
    path: pathlib.Path,
    *,
    number: int,
    identity: str,
    say: Callable[[str], None],
  ):
    first = films([0])
    shape = (number, *first.shape[1:])
    self._progress = path.with_suffix(".json")
    done = self._done(identity, shape)
    mode = "r+" if done and path.is_file() else "w+"
    done = done if mode == "r+" else 0
    path.parent.mkdir(parents=True, exist_ok=True)
    self._kept = np.lib.format.open_memmap(
      path, mode=mode, dtype=films.show.dtype, shape=shape
    )
    for start in range(done, number, _BATCH):
      rows = range(start, min(start + _BATCH, number))
      # The last batch is filled up, so that one program serves all.
      seen = films([*rows, *[rows[-1]] * (_BATCH - len(rows))])
      self._kept[start : rows.stop] = seen[: len(rows)]
      self._kept.flush()
      beside = self._progress.with_suffix(".tmp")
      state = {"identity": identity, "shape": shape, "done": rows.stop}
      beside.write_text(json.dumps(state))
      beside.replace(self._progress)
      if start // _BATCH % 20 == 0:
        say(f"read {rows.stop} of {number} films of {films.source.split}")

  def _done(self, identity: str, shape: tuple[int, ...]) -> int:
    if not self._progress.is_file():
      return 0
    state = json.loads(self._progress.read_text())
    same = state["identity"] == identity and tuple(state["shape"]) == shape
    return state["done"] if same else 0

  def __call__(self, films: Sequence[int]) -> np.ndarray:
    """What is shown of films, by their place in the source."""
    found = self._kept[np.asarray(films)]
    return found if found.dtype == np.uint8 else found.astype(np.float32)


def stored_gib(films: FilmPatches, *, number: int) -> float:
  """How much disk it would take to keep so many films."""
  one = films([0])
  return (
    number * math.prod(one.shape) * np.dtype(films.show.dtype).itemsize / 2**30
  )
