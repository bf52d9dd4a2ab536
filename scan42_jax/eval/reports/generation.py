"""Writes the texts of a split and keeps every batch, so that it can resume."""

from __future__ import annotations

import copy
import json
import math
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from scan42_jax.eval.reports import decoding
from scan42_jax.eval.reports.decoding import DecodingSettings
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.patches import Seen
from scan42_jax.eval.reports.placing import place_batch
from scan42_jax.eval.reports.writer import Writer, prompt_rows, read_text
from scan42_jax.guards import caught_signals
from scan42_jax.types import Array, Float, Int, UInt8


def make_generate(
  writer: Writer, settings: DecodingSettings, *, prompt_length: int
) -> Callable[..., Int[Array, "N M"]]:
  """Compiles (params, seen, tokens, valid, keys) -> generated tokens.

  Rows are independent of each other, so a batch may be split over a mesh.
  """
  net = writer.net

  def run(params, seen, tokens, valid, keys):
    logits, state = net.apply(
      {"params": params},
      seen,
      tokens,
      valid,
      room=settings.max_tokens,
      method="prefill",
    )

    def extend(tokens, state, step):
      return net.apply(
        {"params": params},
        tokens,
        state,
        prompt_length + step,
        method="extend",
      )

    return decoding.generate(
      extend,
      logits,
      state,
      settings=settings,
      ending=writer.ending,
      keys=keys,
    )

  return jax.jit(run)


class Generator:
  """Writes texts of any pairs with one compiled program.

  Args:
    writer: trained.
    params: its parameters.
    settings: of decoding.
    mesh: that batches are split over.
    batch_size: films written about together.
    prompt_length: tokens that prompts are padded to.
    seed: of sampling.
  """

  def __init__(
    self,
    writer: Writer,
    params: Any,
    *,
    settings: DecodingSettings,
    mesh: Mesh,
    batch_size: int,
    prompt_length: int,
    seed: int,
  ):
    self._writer, self._params, self._mesh = writer, params, mesh
    self.batch_size, self._prompt_length = batch_size, prompt_length
    self._key = jax.random.key(seed)
    self._seconds: list[float] = []
    self._generate = make_generate(
      writer, settings, prompt_length=prompt_length
    )

  def write(
    self,
    seen: Float[np.ndarray, "N P W"] | UInt8[np.ndarray, "N H W"],
    pairs: Sequence[Pair],
  ) -> list[str]:
    """Writes the text of each pair's film; N is at most the batch size."""
    number = len(pairs)
    rows = [*range(number), *[number - 1] * (self.batch_size - number)]
    tokens, valid = prompt_rows(self._writer, pairs, length=self._prompt_length)
    batch = place_batch(
      {
        "seen": seen[rows],
        "tokens": tokens[rows],
        "valid": valid[rows],
      },
      self._mesh,
    )
    # By the film, so that neither batches nor a resumed run change a text.
    films = np.array([pairs[row].film for row in rows], np.uint32)
    keys = jax.vmap(lambda film: jax.random.fold_in(self._key, film))(films)
    begin = time.monotonic()
    found = np.asarray(
      self._generate(
        self._params, batch["seen"], batch["tokens"], batch["valid"], keys
      )
    )
    self._seconds.append(time.monotonic() - begin)
    return [read_text(self._writer, row) for row in found[:number]]

  def with_params(self, params: Any) -> Generator:
    """The same program with other parameters; compiles nothing anew."""
    other = copy.copy(self)
    other._params = params
    return other

  @property
  def seconds_per_text(self) -> float:
    """Median over batches after the first, which compiles; NaN without any."""
    later = self._seconds[1:]
    return float(np.median(later)) / self.batch_size if later else math.nan


class Stopped(Exception):
  """A signal came between two batches."""

  def __init__(self, number: int):
    super().__init__(f"stopped by signal {number}")
    self.number = number


def write_all(
  generator: Generator,
  pairs: Sequence[Pair],
  seen: Seen,
  *,
  path: pathlib.Path,
  identity: str,
  say: Callable[[str], None],
) -> list[str]:
  """Writes the text of every pair, one line of JSON each.

  Args:
    generator: what writes.
    pairs: about what.
    seen: what is shown, by the place of a pair in `pairs`.
    path: file that is appended to, and that a later run goes on with.
    identity: of everything that the texts depend on; texts of another one are
      written anew.
    say: takes a line for the user.

  Raises:
    Stopped: a signal came; run again to go on.
  """
  texts = _written(path, identity, pairs)
  if not texts:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"identity": identity}) + "\n")
  size = generator.batch_size
  with path.open("a", encoding="utf-8") as file, caught_signals() as signals:
    for first in range(len(texts), len(pairs), size):
      some = pairs[first : first + size]
      new = generator.write(seen(range(first, first + len(some))), some)
      for pair, text in zip(some, new, strict=True):
        line = {"image_id": pair.image_id, "text": text}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
      file.flush()
      texts += new
      say(f"{path.stem}: {len(texts)} of {len(pairs)} texts")
      if signals:
        raise Stopped(int(signals[0]))
  return texts


def _written(
  path: pathlib.Path, identity: str, pairs: Sequence[Pair]
) -> list[str]:
  """Reads what is there; a line that was cut is dropped from the file."""
  if not path.is_file():
    return []
  lines = path.read_text(encoding="utf-8").split("\n")
  whole, cut = lines[:-1], lines[-1]
  if cut:
    beside = path.with_suffix(".tmp")
    beside.write_text("".join(f"{line}\n" for line in whole))
    beside.replace(path)
  if not whole or json.loads(whole[0]).get("identity") != identity:
    return []
  records = [json.loads(line) for line in whole[1:]]
  for record, pair in zip(records, pairs, strict=False):
    if record["image_id"] != pair.image_id:
      return []
  return [record["text"] for record in records][: len(pairs)]
