"""A model that writes reports: network, tokenizer and prompt in one.

Training and generation see nothing else of it, so that the embedded decoder and
a language model behind a projector are one thing to them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scan42_jax.eval.reports import tokenizer as special
from scan42_jax.eval.reports.decoding import Ending
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.tokenizer import Tokenizer
from scan42_jax.types import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class Writer:
  """What writes.

  Attributes:
    net: has `__call__`, `prefill` and `extend` of ReportDecoder.
    tokenizer: its tokens.
    ending: tokens that end a report, the first of them in training.
    prompt: indication -> tokens before the report.
    max_report_tokens: longest report, its end included.
    sentences: that training also tells from the film; () for none.
  """

  net: Any
  tokenizer: Tokenizer
  ending: Ending
  prompt: Callable[[str], list[int]]
  max_report_tokens: int
  sentences: tuple[str, ...] = ()


def small_prompt(
  tokenizer: Tokenizer, *, max_indication_tokens: int
) -> Callable[[str], list[int]]:
  """The prompt of the embedded decoder: start, indication, now the findings."""
  start, now = map(tokenizer.special, (special.START, special.PROMPTED))

  def prompt(indication: str) -> list[int]:
    return [start, *tokenizer.encode(indication)[:max_indication_tokens], now]

  return prompt


def small_ending(tokenizer: Tokenizer) -> Ending:
  """How texts of the embedded decoder end."""
  end, pad = map(tokenizer.special, (special.END, special.PAD))
  return Ending(ends=(end,), pad=pad)


@dataclasses.dataclass(frozen=True)
class TokenRows:
  """Prompts with their reports, padded on the right.

  Attributes:
    tokens: of prompt and report.
    valid: tokens that are no padding.
    weights: 1 where the token after is one of the report, else 0.
  """

  tokens: Int[np.ndarray, "N T"]
  valid: Bool[np.ndarray, "N T"]
  weights: Float[np.ndarray, "N T"]


def report_tokens(writer: Writer, pair: Pair) -> tuple[list[int], bool]:
  """Tokens of a report and its end; whether it was cut, which has no end."""
  tokens = [*writer.tokenizer.encode(pair.text), writer.ending.ends[0]]
  most = writer.max_report_tokens
  return tokens[:most], len(tokens) > most


def longest_row(writer: Writer, pairs: Sequence[Pair]) -> tuple[int, int]:
  """Returns the length that rows are padded to, and how many texts are cut."""
  longest, cut = 0, 0
  for pair in pairs:
    tokens, too_long = report_tokens(writer, pair)
    cut += too_long
    longest = max(longest, len(writer.prompt(pair.indication)) + len(tokens))
  return -(-longest // 8) * 8, cut


def training_rows(
  writer: Writer, pairs: Sequence[Pair], *, length: int
) -> TokenRows:
  """Returns prompts and reports, padded to one length."""
  tokens = np.full((len(pairs), length), writer.ending.pad, np.int32)
  valid = np.zeros((len(pairs), length), bool)
  weights = np.zeros((len(pairs), length), np.float32)
  for row, pair in enumerate(pairs):
    prompt = writer.prompt(pair.indication)
    report, _ = report_tokens(writer, pair)
    whole = [*prompt, *report][:length]
    tokens[row, : len(whole)] = whole
    valid[row, : len(whole)] = True
    weights[row, len(prompt) - 1 : len(whole) - 1] = 1
  return TokenRows(tokens, valid, weights)


def prompt_rows(
  writer: Writer, pairs: Sequence[Pair], *, length: int
) -> tuple[Int[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
  """Returns prompts, padded on the left to one length."""
  tokens = np.full((len(pairs), length), writer.ending.pad, np.int32)
  valid = np.zeros((len(pairs), length), bool)
  for row, pair in enumerate(pairs):
    prompt = writer.prompt(pair.indication)
    tokens[row, length - len(prompt) :] = prompt
    valid[row, length - len(prompt) :] = True
  return tokens, valid


def read_text(writer: Writer, tokens: Sequence[int]) -> str:
  """The text of generated tokens, up to their end."""
  kept = []
  for token in tokens:
    if token in writer.ending.ends or token == writer.ending.pad:
      break
    kept.append(int(token))
  return writer.tokenizer.decode(kept)
