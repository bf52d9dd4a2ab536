"""Causal attention of a text that grows, with or without a cache of its past.

Whole texts (training) and single new tokens (generation) take one way, so that
both give the same numbers. A cache is plain arrays whose leading axis is the
text, for beams to be gathered along it.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp

from scan42_jax.types import Array, Bool, Float, Int


@flax.struct.dataclass
class KeyValues:
  """Keys and values of one layer; A heads of E channels, S slots."""

  keys: Float[Array, "N S A E"]
  values: Float[Array, "N S A E"]


@flax.struct.dataclass
class TextState:
  """What a decoder keeps of the texts written so far.

  Attributes:
    layers: of every layer, in slots of which the first are filled.
    memory: of every layer, of what does not grow; () if there is none.
    valid: slots that hold a token of the text, rather than padding.
  """

  layers: tuple[KeyValues, ...]
  memory: tuple[KeyValues, ...]
  valid: Bool[Array, "N S"]


@flax.struct.dataclass
class Slots:
  """Which tokens are being read, and where they are kept.

  Attributes:
    positions: place of each token in its text, padding not counted.
    valid: slots that hold tokens, those being read included.
    offset: slot of the first token being read, the same for all texts.
  """

  positions: Int[Array, "N T"]
  valid: Bool[Array, "N S"]
  offset: Int[Array, ""] | int

  def visible(self) -> Bool[Array, "N 1 T S"]:
    """Slots that each token may look at: filled, and not after its own."""
    number = self.positions.shape[1]
    slot = jnp.arange(self.valid.shape[1])
    causal = slot <= self.offset + jnp.arange(number)[:, None]
    return (causal & self.valid[:, None])[:, None]


def whole_text(valid: Bool[Array, "N T"]) -> Slots:
  """Slots of texts that are read at once, padded on either side."""
  return Slots(_positions(valid), valid, 0)


def prompt(valid: Bool[Array, "N T"], *, room: int) -> Slots:
  """Slots of prompts that are padded on the left, with room after them."""
  more = jnp.zeros((len(valid), room), bool)
  return Slots(_positions(valid), jnp.concatenate([valid, more], axis=1), 0)


def next_token(state: TextState, offset: Int[Array, ""]) -> Slots:
  """Slots of one token more, put into slot `offset`."""
  position = state.valid.sum(axis=1, dtype=jnp.int32)[:, None]
  return Slots(position, state.valid.at[:, offset].set(True), offset)


def empty(new: KeyValues, slots: int) -> KeyValues:
  """A cache of one layer without any token."""
  shape = (new.keys.shape[0], slots, *new.keys.shape[2:])
  zeros = jnp.zeros(shape, new.keys.dtype)
  return KeyValues(zeros, zeros)


def remember(past: KeyValues | None, new: KeyValues, slots: Slots) -> KeyValues:
  """Puts new keys and values into their slots."""
  length = slots.valid.shape[1]
  if past is None:
    if new.keys.shape[1] == length:
      return new
    past = empty(new, length)
  place = (0, slots.offset, 0, 0)
  return KeyValues(
    jax.lax.dynamic_update_slice(past.keys, new.keys, place),
    jax.lax.dynamic_update_slice(past.values, new.values, place),
  )


def attend(
  queries: Float[Array, "N T A E"],
  known: KeyValues,
  visible: Bool[Array, "#N 1 #T S"] | None = None,
) -> Float[Array, "N T A E"]:
  """softmax(q k' / sqrt(E)) v, the softmax in float32.

  Several query heads may share a head of keys (Ainslie et al. 2023,
  arXiv:2305.13245).
  """
  return jax.nn.dot_product_attention(
    queries, known.keys, known.values, mask=visible, implementation="xla"
  )


def attention_weights(
  queries: Float[Array, "N T A E"],
  known: KeyValues,
  visible: Bool[Array, "#N 1 #T S"] | None = None,
) -> Float[Array, "N T S"]:
  """What each token looks at in `attend`, the mean over heads; sums to 1."""
  scale = queries.shape[-1] ** -0.5
  shared = queries.shape[2] // known.keys.shape[2]
  scores = jnp.einsum(
    "ntae,nsae->nats",
    queries * scale,
    jnp.repeat(known.keys, shared, axis=2),
    preferred_element_type=jnp.float32,
  )
  if visible is not None:
    scores = jnp.where(visible, scores, -jnp.inf)
  return jax.nn.softmax(scores).mean(axis=1)


def _positions(valid: Bool[Array, "N T"]) -> Int[Array, "N T"]:
  return jnp.maximum(jnp.cumsum(valid, axis=1, dtype=jnp.int32) - 1, 0)
