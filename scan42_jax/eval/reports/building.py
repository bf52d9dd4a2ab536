"""Builds the writer that the settings ask for, with its starting parameters."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.placing import place_parameters
from scan42_jax.eval.reports.settings import ReportSettings
from scan42_jax.eval.reports.tokenizer import (
  Tokenizer,
  read_tokenizer,
  train_tokenizer,
)
from scan42_jax.eval.reports.writer import Writer, small_ending, small_prompt
from scan42_jax.models.report_decoder import ReportDecoder, ReportDecoderConfig

TOKENIZER = "tokenizer.json"


def build(
  settings: ReportSettings,
  pairs: Sequence[Pair],
  *,
  mesh: Mesh,
  patches: tuple[int, int],
  workdir: pathlib.Path,
  folder: pathlib.Path | None,
) -> tuple[Writer, Any]:
  """Builds what writes, and its parameters on the mesh.

  Args:
    settings: of the evaluation.
    pairs: of training.
    mesh: over which parameters are split.
    patches: number and width of a film's patch tokens.
    workdir: where the tokenizer of the embedded decoder is, or will be.
    folder: of the language model.

  Raises:
    ValueError, FileNotFoundError: of the folder; one line.
  """
  writer = _small(settings, pairs, workdir=workdir)
  seed = settings.seed
  return writer, fresh_parameters(writer, mesh, patches=patches, seed=seed)


def _small(
  settings: ReportSettings, pairs: Sequence[Pair], *, workdir: pathlib.Path
) -> Writer:
  """The embedded decoder; its tokens are made once, of the training reports."""
  tokenizer = _own_tokenizer(settings, pairs, workdir / TOKENIZER)
  text, shape = settings.text, settings.small
  room = max(text.max_report_tokens, settings.decoding.max_tokens)
  config = ReportDecoderConfig(
    vocab_size=tokenizer.vocab_size,
    width=shape.width,
    depth=shape.depth,
    num_heads=shape.num_heads,
    mlp_ratio=shape.mlp_ratio,
    max_tokens=-(-(room + text.max_indication_tokens + 2) // 8) * 8,
    dropout=shape.dropout,
  )
  return Writer(
    net=ReportDecoder(config, dtype=jnp.dtype(settings.dtype)),
    tokenizer=tokenizer,
    ending=small_ending(tokenizer),
    prompt=small_prompt(
      tokenizer, max_indication_tokens=text.max_indication_tokens
    ),
    max_report_tokens=text.max_report_tokens,
  )


def _own_tokenizer(
  settings: ReportSettings, pairs: Sequence[Pair], path: pathlib.Path
) -> Tokenizer:
  if path.is_file():
    return read_tokenizer(path)
  texts = [text for pair in pairs for text in (pair.text, pair.indication)]
  tokenizer = train_tokenizer(texts, vocab_size=settings.small.vocab_size)
  tokenizer.save(path)
  return tokenizer


def fresh_parameters(
  writer: Writer, mesh: Mesh, *, patches: tuple[int, int], seed: int
) -> Any:
  """Random parameters, made where they will live.

  Args:
    writer: whose.
    mesh: over which they are split.
    patches: number and width of a film's patch tokens.
    seed: of the random numbers.
  """

  def make(key):
    return writer.net.init(
      key,
      jnp.zeros((1, *patches)),
      jnp.zeros((1, 2), jnp.int32),
      jnp.ones((1, 2), bool),
    )["params"]

  key = jax.random.key(seed)
  shapes = jax.eval_shape(make, key)
  return jax.jit(make, out_shardings=place_parameters(mesh, shapes))(key)
