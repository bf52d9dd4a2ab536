"""Patch tokens of films by a frozen encoder, kept on disk where they fit."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from scan42_jax.data.images import decode_film
from scan42_jax.data.sources import FilmSource
from scan42_jax.encoder import Encoder
from scan42_jax.types import Float, UInt8

Patches = Callable[[Sequence[int]], Float[np.ndarray, "N P W"]]
"""Places in a source -> patch tokens of these films."""

_BATCH = 32


class FilmPatches:
  """Encodes films whenever they are asked for.

  Args:
    encoder: frozen.
    source: of the films.

  Raises:
    ValueError: the films are stored equalised, and the encoder wants others.
  """

  def __init__(self, encoder: Encoder, source: FilmSource):
    if source.equalized:
      if not encoder.preprocessing.equalize:
        raise ValueError(
          f"dataset {source.name} is stored equalised, and this encoder wants"
          " films that are not: prepare it without --published"
        )
      encoder = encoder.with_preprocessing(equalize=False)
    self._encoder, self.source = encoder, source

  def __call__(self, films: Sequence[int]) -> Float[np.ndarray, "N P W"]:
    """Patch tokens of films, by their place in the source."""
    return self.encode([self.film(f) for f in films])

  def film(self, film: int) -> UInt8[np.ndarray, "H W"]:
    """The picture of one film."""
    return decode_film(self.source[int(film)]["image"])

  def encode(
    self, pictures: Sequence[UInt8[np.ndarray, "_ _"]]
  ) -> Float[np.ndarray, "N P W"]:
    """Patch tokens of pictures."""
    tokens = self._encoder(pictures, batch_size=len(pictures)).patches
    return tokens.reshape(len(tokens), -1, tokens.shape[-1])

  def grid(self) -> tuple[int, int]:
    """Rows and columns of patches."""
    return self._encoder([self.film(0)]).patches.shape[1:3]


class StoredPatches:
  """Patch tokens in one file of float16, filled once; resumed where it ended.

  Args:
    films: what encodes them.
    path: of the file; its progress is kept beside it.
    number: films to encode, from the first on.
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
    self._tokens = np.lib.format.open_memmap(
      path, mode=mode, dtype=np.float16, shape=shape
    )
    for start in range(done, number, _BATCH):
      rows = range(start, min(start + _BATCH, number))
      # The last batch is filled up, so that one program serves all.
      tokens = films([*rows, *[rows[-1]] * (_BATCH - len(rows))])
      self._tokens[start : rows.stop] = tokens[: len(rows)]
      self._tokens.flush()
      beside = self._progress.with_suffix(".tmp")
      state = {"identity": identity, "shape": shape, "done": rows.stop}
      beside.write_text(json.dumps(state))
      beside.replace(self._progress)
      if start // _BATCH % 20 == 0:
        say(f"encoded {rows.stop} of {number} films of {films.source.split}")

  def _done(self, identity: str, shape: tuple[int, ...]) -> int:
    if not self._progress.is_file():
      return 0
    state = json.loads(self._progress.read_text())
    same = state["identity"] == identity and tuple(state["shape"]) == shape
    return state["done"] if same else 0

  def __call__(self, films: Sequence[int]) -> Float[np.ndarray, "N P W"]:
    """Patch tokens of films, by their place in the source."""
    return self._tokens[np.asarray(films)].astype(np.float32)


def stored_gib(films: FilmPatches, *, number: int) -> float:
  """How much disk the patch tokens of so many films would take."""
  return number * films([0]).size * 2 / 2**30
