"""Pooled tokens of whole splits, read once and kept in the work folder.

A table on disk is written batch by batch and mapped back, so memory does not
grow with the number of films, and a killed run goes on where it stopped.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from scan42_jax.data.images import decode_film
from scan42_jax.data.sources import FilmSource
from scan42_jax.encoder import Encoder
from scan42_jax.eval.settings import FeatureSettings
from scan42_jax.eval.tokens import pooled_tokens
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.sharding import batch_sharding, replicated
from scan42_jax.types import Float, UInt8
from scan42_jax.weights.digest import weights_sha256

_SAY_SECONDS = 10.0


class TokenReader:
  """Turns films into pooled tokens with one compiled encoder.

  Args:
    encoder: the encoder.
    settings: which tokens.

  Attributes:
    encoder: as it is used; registers may be dropped.
    width: of a token.
    layers: class tokens in a row.
    identity: all that the numbers depend on besides the films, JSON values.
  """

  def __init__(self, encoder: Encoder, settings: FeatureSettings):
    if settings.drop_registers:
      encoder = without_registers(encoder)
    check_square(encoder)
    self.encoder = encoder
    self.width = encoder.config.width
    self.layers = min(settings.layers, encoder.config.depth)
    self.batch_size = settings.batch_size * encoder.mesh.size
    self.identity = {
      "weights_sha256": weights_sha256(encoder.params),
      "dtype": str(np.dtype(encoder.dtype)),
      "encoder": dataclasses.asdict(encoder.config),
      "preprocessing": dataclasses.asdict(encoder.preprocessing),
      "layers": self.layers,
      "token": settings.token,
    }
    self._pool = jax.jit(
      functools.partial(
        pooled_tokens,
        VisionTransformer(encoder.config, encoder.dtype),
        layers=self.layers,
        token=settings.token,
      ),
      out_shardings=replicated(encoder.mesh),
    )

  def prepare(
    self, films: Sequence[UInt8[np.ndarray, "_ _"]], *, equalized: bool = False
  ) -> Float[np.ndarray, "N H W C"]:
    """Prepares films as the encoder wants them.

    Args:
      films: grey, of any sizes.
      equalized: they are equalised already.
    """
    encoder = self.encoder
    if equalized:
      encoder = encoder.with_preprocessing(equalize=False)
    return np.asarray(encoder.prepare(films), np.float32)

  def read(
    self, pixels: Float[np.ndarray, "N H W C"]
  ) -> Float[np.ndarray, "N F"]:
    """Encodes prepared films, at most `batch_size`; few are filled up."""
    filler = np.repeat(pixels[-1:], self.batch_size - len(pixels), axis=0)
    placed = jax.device_put(
      np.concatenate([pixels, filler]), batch_sharding(self.encoder.mesh)
    )
    return np.asarray(self._pool(self.encoder.params, placed))[: len(pixels)]


def without_registers(encoder: Encoder) -> Encoder:
  """Returns the encoder as if it had been trained without registers."""
  params = {k: v for k, v in encoder.params.items() if k != "registers"}
  config = dataclasses.replace(encoder.config, num_registers=0)
  return dataclasses.replace(encoder, config=config, params=params)


def check_square(encoder: Encoder) -> None:
  """Refuses preprocessing that gives films of different sizes.

  Raises:
    ValueError: neither cropped nor squashed.
  """
  how = encoder.preprocessing
  if how.crop_px is None and not how.squash:
    raise ValueError(
      f"{encoder.source}: its preprocessing ({how}) leaves films in sizes of"
      " their own; evaluation needs a centre crop or a squash"
    )


def check_equalized(source: FilmSource, encoder: Encoder) -> None:
  """Refuses stored equalisation that the encoder does not ask for.

  Raises:
    ValueError: they do not agree.
  """
  if source.equalized and not encoder.preprocessing.equalize:
    raise ValueError(
      f"dataset {source.name} is stored equalised, but the encoder wants films"
      " without equalisation; prepare it without --published"
    )


def cached_tokens(
  reader: TokenReader,
  source: FilmSource,
  folder: pathlib.Path,
  *,
  say: Callable[[str], None] = print,
) -> Float[np.ndarray, "N F"]:
  """Returns the tokens of every film of a split, mapped from disk.

  Args:
    reader: the encoder.
    source: the films.
    folder: keeps the table; one of another encoder or of other films is made
      anew beside it.
    say: takes lines for the user.
  """
  check_equalized(source, reader.encoder)
  identity = json.dumps([reader.identity, source.facts()], sort_keys=True)
  digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
  finished = folder / f"{source.split}_{digest}.npy"
  if not finished.is_file():
    folder.mkdir(parents=True, exist_ok=True)
    _write(reader, source, finished, say)
  return np.load(finished, mmap_mode="r")


def _write(reader, source, finished: pathlib.Path, say) -> None:
  partial = finished.with_suffix(".partial")
  shape = len(source), (reader.layers + 1) * reader.width
  done = _done(partial)
  if not done:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
  table = np.lib.format.open_memmap(
    partial / "table.npy",
    mode="r+" if done else "w+",
    dtype=np.float32,
    shape=shape,
  )
  start = last = time.monotonic()
  resumed = done
  for pixels in prepared_batches(reader, source, first=done):
    table[done : done + len(pixels)] = reader.read(pixels)
    done += len(pixels)
    table.flush()
    (partial / "films_done").write_text(f"{done}\n")
    if time.monotonic() - last > _SAY_SECONDS:
      last = time.monotonic()
      rate = (done - resumed) / (last - start)
      say(f"{source.split}: {done}/{len(source)} films, {rate:.1f}/s")
  del table
  (partial / "table.npy").replace(finished)
  shutil.rmtree(partial)


def _done(partial: pathlib.Path) -> int:
  """Films that an earlier call wrote."""
  try:
    return int((partial / "films_done").read_text())
  except (FileNotFoundError, ValueError):
    return 0  # A kill between opening and writing leaves an empty file.


def prepared_batches(
  reader: TokenReader, source: FilmSource, *, first: int = 0
) -> Iterator[Float[np.ndarray, "N H W C"]]:
  """Yields prepared batches in stored order, from film `first` on.

  One batch is read while another is encoded.
  """

  def prepare(start: int) -> np.ndarray:
    stop = min(start + reader.batch_size, len(source))
    films = [decode_film(source[i]["image"]) for i in range(start, stop)]
    return reader.prepare(films, equalized=source.equalized)

  starts = range(first, len(source), reader.batch_size)
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    ahead = None
    for start in starts:
      this, ahead = ahead, pool.submit(prepare, start)
      if this is not None:
        yield this.result()
    if ahead is not None:
      yield ahead.result()
