"""Writes texts token by token, in one compiled program.

Greedy, sampled and beam search over any model that gives logits and a state
whose leaves lead with the text. The model is two functions; nothing here knows
what is in the state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import flax.struct
import jax
import jax.numpy as jnp

from scan42_jax.types import Array, Bool, Float, Int

State = Any
Extend = Callable[
  [Int[Array, "N"], State, Int[Array, ""]], tuple[Float[Array, "N V"], State]
]
"""(tokens, state, how many were written before) -> (logits, state)."""


@dataclasses.dataclass(frozen=True)
class DecodingSettings:
  """How texts are written.

  Attributes:
    method: the likeliest token each time, beam search, or sampling.
    beams: texts kept in beam search.
    length_penalty: beams are ranked by log likelihood / tokens ** this.
    temperature: of sampling.
    top_p: sampling is from the likeliest tokens that reach this probability.
    min_tokens: tokens before a text may end.
    max_tokens: tokens of a text, its end included; longer ones are cut.
    no_repeat_ngram: no n-gram of this length twice; 0 for no limit.
    repetition_penalty: logits of tokens written already are divided by this
      where positive, else multiplied (Keskar et al. 2019, arXiv:1909.05858).
  """

  method: Literal["greedy", "beam", "sample"] = "greedy"
  beams: int = 4
  length_penalty: float = 1.0
  temperature: float = 1.0
  top_p: float = 1.0
  min_tokens: int = 1
  max_tokens: int = 160
  no_repeat_ngram: int = 0
  repetition_penalty: float = 1.0

  def __post_init__(self):
    for failed, message in (
      (self.beams < 1, f"beams={self.beams} is not positive"),
      (self.temperature <= 0, f"temperature={self.temperature} must be > 0"),
      (not 0 < self.top_p <= 1, f"top_p={self.top_p} must be in (0, 1]"),
      (
        not 0 <= self.min_tokens < self.max_tokens,
        f"min_tokens={self.min_tokens} must be in 0..max_tokens="
        f"{self.max_tokens} - 1",
      ),
      (
        self.no_repeat_ngram < 0,
        f"no_repeat_ngram={self.no_repeat_ngram} is negative",
      ),
      (
        self.repetition_penalty < 1,
        f"repetition_penalty={self.repetition_penalty} must be at least 1",
      ),
    ):
      if failed:
        raise ValueError(f"decoding.{message}")


@dataclasses.dataclass(frozen=True)
class Ending:
  """Tokens that end a text, and what fills the rest."""

  ends: tuple[int, ...]
  pad: int


def generate(
  extend: Extend,
  logits: Float[Array, "N V"],
  state: State,
  *,
  settings: DecodingSettings,
  ending: Ending,
  keys: Array | None = None,
) -> Int[Array, "N M"]:
  """Writes a text for each row.

  Args:
    extend: reads one token more.
    logits: of the first token.
    state: after the prompt.
    settings: see DecodingSettings.
    ending: see Ending.
    keys: a random key for each row, for sampling; a row's text depends on its
      own key alone.

  Returns:
    Tokens up to M = max_tokens, the end included, padding after it.
  """
  if settings.method == "beam":
    return _beam_search(extend, logits, state, settings, ending)
  if settings.method == "greedy":
    keys = None
  elif keys is None:
    raise ValueError("sampling needs a key for each row")
  return _one_by_one(extend, logits, state, settings, ending, keys)


def restrict(
  logits: Float[Array, "N V"],
  written: Int[Array, "N M"],
  step: Int[Array, ""],
  *,
  settings: DecodingSettings,
  ending: Ending,
) -> Float[Array, "N V"]:
  """Applies the limits of length and repetition to the next token.

  Args:
    logits: of the next token.
    written: tokens so far; those from `step` on are to come.
    step: how many there are.
    settings: see DecodingSettings.
    ending: see Ending.
  """
  logits = logits.at[:, ending.pad].set(-jnp.inf)
  vocabulary = logits.shape[-1]
  if settings.repetition_penalty > 1:
    there = jnp.arange(written.shape[1]) < step
    seen = _marks(written, there & jnp.ones_like(written, bool), vocabulary)
    p = settings.repetition_penalty
    penalized = jnp.where(logits > 0, logits / p, logits * p)
    logits = jnp.where(seen, penalized, logits)
  if settings.no_repeat_ngram:
    banned = _repeats(written, step, settings.no_repeat_ngram)
    logits = jnp.where(_marks(written, banned, vocabulary), -jnp.inf, logits)
  ends = jnp.array(ending.ends)
  kept = jnp.where(step < settings.min_tokens, -jnp.inf, logits[:, ends])
  limited = logits.at[:, ends].set(kept)
  # Where the limits leave nothing to write, the text ends.
  stuck = jnp.isneginf(limited).all(axis=1, keepdims=True)
  return limited.at[:, ends].set(jnp.where(stuck, 0.0, kept))


def _marks(tokens, chosen, vocabulary) -> Bool[Array, "N V"]:
  """Tokens of the vocabulary that occur among the chosen ones of a row."""
  rows = jnp.arange(len(tokens))[:, None]
  counts = jnp.zeros((len(tokens), vocabulary), jnp.int32)
  return counts.at[rows, tokens].add(chosen.astype(jnp.int32)) > 0


def _repeats(written, step, order) -> Bool[Array, "N M"]:
  """Tokens that followed, earlier in the row, what stands at its end."""
  length = written.shape[1]
  follows = jnp.arange(length) < step
  for back in range(1, order):
    last = jnp.take(written, jnp.maximum(step - back, 0), axis=1)
    before = jnp.roll(written, back, axis=1)
    follows &= (before == last[:, None]) & (jnp.arange(length) >= back)
  return follows & (step >= order - 1) & jnp.ones_like(written, bool)


@flax.struct.dataclass
class _Texts:
  """Texts in writing."""

  step: Int[Array, ""]
  tokens: Int[Array, "N M"]
  done: Bool[Array, "N"]
  logits: Float[Array, "N V"]
  state: State


def _one_by_one(extend, logits, state, settings, ending, keys):
  number, length = len(logits), settings.max_tokens
  ends = jnp.array(ending.ends)

  def unfinished(texts: _Texts):
    return (texts.step < length) & ~texts.done.all()

  def write(texts: _Texts) -> _Texts:
    allowed = restrict(
      texts.logits,
      texts.tokens,
      texts.step,
      settings=settings,
      ending=ending,
    )
    token = _choose(allowed, texts.step, settings=settings, keys=keys)
    token = jnp.where(texts.done, ending.pad, token)
    logits, state = extend(token, texts.state, texts.step)
    return _Texts(
      step=texts.step + 1,
      tokens=texts.tokens.at[:, texts.step].set(token),
      done=texts.done | (token[:, None] == ends).any(axis=1),
      logits=logits,
      state=state,
    )

  start = _Texts(
    step=jnp.zeros((), jnp.int32),
    tokens=jnp.full((number, length), ending.pad, jnp.int32),
    done=jnp.zeros(number, bool),
    logits=logits,
    state=state,
  )
  return jax.lax.while_loop(unfinished, write, start).tokens


def _choose(logits, step, *, settings, keys) -> Int[Array, "N"]:
  if keys is None:
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)
  logits = nucleus(logits / settings.temperature, settings.top_p)
  keys = jax.vmap(lambda key: jax.random.fold_in(key, step))(keys)
  return jax.vmap(jax.random.categorical)(keys, logits).astype(jnp.int32)


def nucleus(logits: Float[Array, "N V"], top_p: float) -> Float[Array, "N V"]:
  """Leaves the likeliest tokens that together reach `top_p`, at least one.

  Holtzman et al. 2020, arXiv:1904.09751.
  """
  ordered = jnp.sort(logits, axis=-1, descending=True)
  probability = jax.nn.softmax(ordered, axis=-1)
  before = jnp.cumsum(probability, axis=-1) - probability
  kept = jnp.where(before < top_p, ordered, jnp.inf)
  return jnp.where(logits >= kept.min(axis=-1, keepdims=True), logits, -jnp.inf)


@flax.struct.dataclass
class _Beams:
  """K texts in writing and the best K that ended, of each of N rows."""

  step: Int[Array, ""]
  tokens: Int[Array, "N K M"]
  scores: Float[Array, "N K"]
  ended_tokens: Int[Array, "N K M"]
  ended_scores: Float[Array, "N K"]
  logits: Float[Array, "NK V"]
  state: State


def _beam_search(extend, logits, state, settings, ending):
  number, beams = len(logits), settings.beams
  length = settings.max_tokens
  start = _first_beams(logits, state, settings, ending)

  def unfinished(now: _Beams):
    # Scores only fall, and the longest text divides them by most.
    bound = now.scores.max(axis=1) / length**settings.length_penalty
    open_rows = now.ended_scores.max(axis=1) < bound
    return (now.step < length) & open_rows.any()

  def write(now: _Beams) -> _Beams:
    total = _totals(now, settings, ending)
    now = _collect_ended(now, total, settings, ending)
    total = total.at[..., jnp.array(ending.ends)].set(-jnp.inf)
    scores, place = jax.lax.top_k(total.reshape(number, -1), beams)
    parent, token = jnp.divmod(place, total.shape[-1])
    tokens = jnp.take_along_axis(now.tokens, parent[..., None], axis=1)
    rows = (parent + beams * jnp.arange(number)[:, None]).reshape(-1)
    state = jax.tree.map(lambda x: x[rows], now.state)
    token = token.astype(jnp.int32)
    logits, state = extend(token.reshape(-1), state, now.step)
    return now.replace(
      step=now.step + 1,
      tokens=tokens.at[..., now.step].set(token),
      scores=scores,
      logits=logits,
      state=state,
    )

  end = jax.lax.while_loop(unfinished, write, start)
  # Texts that were cut compete as they are.
  cut = jnp.where(
    end.step == length, end.scores / length**settings.length_penalty, -jnp.inf
  )
  tokens = jnp.concatenate([end.ended_tokens, end.tokens], axis=1)
  best = jnp.concatenate([end.ended_scores, cut], axis=1).argmax(axis=1)
  return jnp.take_along_axis(tokens, best[:, None, None], axis=1)[:, 0]


def _first_beams(logits, state, settings, ending) -> _Beams:
  """K beams of which all but one are impossible, so that no text is twice."""
  number, beams = len(logits), settings.beams
  scores = jnp.full((number, beams), -jnp.inf)
  tokens = jnp.full((number, beams, settings.max_tokens), ending.pad, jnp.int32)
  return _Beams(
    step=jnp.zeros((), jnp.int32),
    tokens=tokens,
    scores=scores.at[:, 0].set(0),
    ended_tokens=tokens,
    ended_scores=scores,
    logits=jnp.repeat(logits, beams, axis=0),
    state=jax.tree.map(lambda x: jnp.repeat(x, beams, axis=0), state),
  )


def _totals(now: _Beams, settings, ending) -> Float[Array, "N K V"]:
  """Log likelihood of every beam with every next token."""
  number, beams, length = now.tokens.shape
  allowed = restrict(
    now.logits,
    now.tokens.reshape(-1, length),
    now.step,
    settings=settings,
    ending=ending,
  )
  likely = jax.nn.log_softmax(allowed.astype(jnp.float32))
  return now.scores[..., None] + likely.reshape(number, beams, -1)


def _collect_ended(now: _Beams, total, settings, ending) -> _Beams:
  """Keeps the best K of the texts that ended and those that end here."""
  beams = settings.beams
  tokens, scores = [now.ended_tokens], [now.ended_scores]
  for end in ending.ends:
    tokens.append(now.tokens.at[..., now.step].set(end))
    scores.append(total[..., end] / (now.step + 1) ** settings.length_penalty)
  scores, place = jax.lax.top_k(jnp.concatenate(scores, axis=1), beams)
  tokens = jnp.take_along_axis(
    jnp.concatenate(tokens, axis=1), place[..., None], axis=1
  )
  return now.replace(ended_tokens=tokens, ended_scores=scores)
