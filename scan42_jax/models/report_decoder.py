"""A compact transformer that writes a report while looking at the patches.

Pre-norm blocks of causal attention, cross-attention to the encoder's patch
tokens and a feed-forward (Vaswani et al. 2017); small enough for one device and
trained from scratch. Generation is in eval/reports; the encoder is not here.
"""

from __future__ import annotations

import dataclasses

import einops
import flax.linen as nn
import jax.numpy as jnp

from scan42_jax.models import cached_attention as cache
from scan42_jax.models.cached_attention import KeyValues, Slots, TextState
from scan42_jax.models.layers import DENSE_INIT, Mlp, layer_norm
from scan42_jax.types import Array, Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class ReportDecoderConfig:
  """Shape of the decoder.

  Attributes:
    vocab_size: tokens that exist.
    width: channels of a token.
    depth: blocks.
    num_heads: attention heads.
    mlp_ratio: hidden channels of the feed-forward over width.
    max_tokens: longest text with its prompt.
    dropout: share of each branch dropped in training.
  """

  vocab_size: int
  width: int = 512
  depth: int = 6
  num_heads: int = 8
  mlp_ratio: float = 4.0
  max_tokens: int = 512
  dropout: float = 0.1


class _SelfAttention(nn.Module):
  """Causal attention with one fused projection."""

  num_heads: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self, x: Float[Array, "N T D"], past: KeyValues | None, slots: Slots
  ) -> tuple[Float[Array, "N T D"], KeyValues]:
    qkv = _dense(3 * x.shape[-1], self.dtype, "qkv")(x)
    queries, keys, values = einops.rearrange(
      qkv, "n t (three a e) -> three n t a e", three=3, a=self.num_heads
    )
    known = cache.remember(past, KeyValues(keys, values), slots)
    mixed = cache.attend(queries, known, slots.visible())
    mixed = einops.rearrange(mixed, "n t a e -> n t (a e)")
    return _dense(x.shape[-1], self.dtype, "proj")(mixed), known


class _CrossAttention(nn.Module):
  """Attention of the text to the patches, whose keys are made once."""

  width: int
  num_heads: int
  dtype: jnp.dtype

  def setup(self):
    self.query = _dense(self.width, self.dtype)
    self.key_value = _dense(2 * self.width, self.dtype)
    self.proj = _dense(self.width, self.dtype)

  def read(self, memory: Float[Array, "N P D"]) -> KeyValues:
    keys, values = einops.rearrange(
      self.key_value(memory),
      "n p (two a e) -> two n p a e",
      two=2,
      a=self.num_heads,
    )
    return KeyValues(keys, values)

  def queries(self, x: Float[Array, "N T D"]) -> Float[Array, "N T A E"]:
    return einops.rearrange(
      self.query(x), "n t (a e) -> n t a e", a=self.num_heads
    )

  def __call__(
    self, x: Float[Array, "N T D"], known: KeyValues
  ) -> Float[Array, "N T D"]:
    mixed = cache.attend(self.queries(x), known)
    return self.proj(einops.rearrange(mixed, "n t a e -> n t (a e)"))


class _Block(nn.Module):
  config: ReportDecoderConfig
  dtype: jnp.dtype

  def setup(self):
    config = self.config
    self.norm1, self.norm2, self.norm3 = (
      layer_norm(self.dtype) for _ in range(3)
    )
    self.attn = _SelfAttention(config.num_heads, self.dtype)
    self.cross = _CrossAttention(config.width, config.num_heads, self.dtype)
    self.mlp = Mlp(int(config.width * config.mlp_ratio), self.dtype)
    self.drop = nn.Dropout(config.dropout)

  def read(self, memory: Float[Array, "N P D"]) -> KeyValues:
    return self.cross.read(memory)

  def __call__(self, x, past, memory, *, slots, train):
    """Returns the new tokens, the cache and what the tokens look at."""
    branch, known = self.attn(self.norm1(x), past, slots)
    x = x + self.drop(branch, deterministic=not train)
    asking = self.norm2(x)
    looks = cache.attention_weights(self.cross.queries(asking), memory)
    x = x + self.drop(self.cross(asking, memory), deterministic=not train)
    branch = self.mlp(self.norm3(x))
    return x + self.drop(branch, deterministic=not train), known, looks


class ReportDecoder(nn.Module):
  """The decoder.

  Attributes:
    config: its shape.
    dtype: of activations; parameters stay float32, logits are float32.
  """

  config: ReportDecoderConfig
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    config = self.config
    self.embedding = nn.Embed(
      config.vocab_size,
      config.width,
      embedding_init=DENSE_INIT,
      dtype=self.dtype,
    )
    self.position_embedding = self.param(
      "position_embedding", DENSE_INIT, (config.max_tokens, config.width)
    )
    self.memory_norm = layer_norm(self.dtype)
    self.memory_proj = _dense(config.width, self.dtype)
    for i in range(config.depth):
      setattr(self, f"block_{i:02d}", _Block(config, self.dtype))
    self.norm = layer_norm(self.dtype)

  def __call__(
    self,
    patches: Float[Array, "N P W"],
    tokens: Int[Array, "N T"],
    valid: Bool[Array, "N T"],
    *,
    train: bool = False,
  ) -> Float[Array, "N T V"]:
    """Logits of the token after each one.

    Args:
      patches: patch tokens of the encoder.
      tokens: texts, padded on either side.
      valid: tokens that are no padding.
      train: drop branches, by the rng `dropout`.
    """
    slots = cache.whole_text(valid)
    x, _, _ = self._run(tokens, slots, self._read(patches), train=train)
    return self._logits(x)

  def prefill(
    self,
    patches: Float[Array, "N P W"],
    tokens: Int[Array, "N T"],
    valid: Bool[Array, "N T"],
    *,
    room: int,
  ) -> tuple[Float[Array, "N V"], TextState]:
    """Reads prompts and returns the logits of the first new token.

    Args:
      patches: patch tokens of the encoder.
      tokens: prompts, padded on the left.
      valid: tokens that are no padding.
      room: slots for tokens to come.
    """
    memory, slots = self._read(patches), cache.prompt(valid, room=room)
    x, layers, _ = self._run(tokens, slots, memory)
    state = TextState(layers, memory, slots.valid)
    return self._logits(x[:, -1]), state

  def extend(
    self, tokens: Int[Array, "N"], state: TextState, offset: Int[Array, ""]
  ) -> tuple[Float[Array, "N V"], TextState]:
    """Reads one token more of each text.

    Args:
      tokens: the tokens.
      state: of `prefill` or `extend`.
      offset: tokens read so far, padding included.
    """
    slots = cache.next_token(state, offset)
    x, layers, _ = self._run(
      tokens[:, None], slots, state.memory, past=state.layers
    )
    return self._logits(x[:, 0]), TextState(layers, state.memory, slots.valid)

  def look(
    self,
    patches: Float[Array, "N P W"],
    tokens: Int[Array, "N T"],
    valid: Bool[Array, "N T"],
  ) -> Float[Array, "N T P"]:
    """Share of attention on each patch while the token after is written.

    The mean over layers and heads.
    """
    slots = cache.whole_text(valid)
    _, _, looks = self._run(tokens, slots, self._read(patches))
    return jnp.mean(jnp.stack(looks), axis=0)

  def _read(self, patches: Float[Array, "N P W"]) -> tuple[KeyValues, ...]:
    memory = self.memory_proj(self.memory_norm(patches))
    return tuple(block.read(memory) for block in self._blocks())

  def _run(self, tokens, slots, memory, *, past=None, train=False):
    past = past or (None,) * self.config.depth
    x = self.embedding(tokens)
    x = x + self.position_embedding[slots.positions].astype(x.dtype)
    layers, looks = [], []
    for block, old, seen in zip(self._blocks(), past, memory, strict=True):
      x, known, look = block(x, old, seen, slots=slots, train=train)
      layers.append(known)
      looks.append(look)
    return self.norm(x), tuple(layers), looks

  def _blocks(self):
    return [getattr(self, f"block_{i:02d}") for i in range(self.config.depth)]

  def _logits(self, x):
    return self.embedding.attend(x).astype(jnp.float32)


def _dense(features: int, dtype: jnp.dtype, name: str | None = None):
  return nn.Dense(features, kernel_init=DENSE_INIT, dtype=dtype, name=name)
