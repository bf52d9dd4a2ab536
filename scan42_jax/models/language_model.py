"""A language model of the Llama family: Llama, Vicuna, TinyLlama, Qwen2.

RMSNorm, rotary positions, grouped-query attention, SwiGLU (Touvron et al. 2023,
arXiv:2302.13971). Numbers agree with transformers. Weights are read elsewhere;
low-rank updates (Hu et al. 2021, arXiv:2106.09685) are parameters of their own.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.models import cached_attention as cache
from scan42_jax.models.cached_attention import KeyValues, Slots
from scan42_jax.types import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """How rotary frequencies are stretched for long texts.

  Attributes:
    kind: 'linear' divides all by `factor`, 'llama3' the low ones.
    factor: of stretching.
    low_factor: waves longer than `original_length` / this are stretched.
    high_factor: waves shorter than `original_length` / this are not.
    original_length: tokens that the model was first trained on.
  """

  kind: Literal["none", "linear", "llama3"] = "none"
  factor: float = 1.0
  low_factor: float = 1.0
  high_factor: float = 4.0
  original_length: int = 8192


@dataclasses.dataclass(frozen=True)
class LanguageModelConfig:
  """Shape of a language model.

  Attributes:
    vocab_size: tokens that exist.
    width: channels of a token.
    depth: blocks.
    num_heads: heads of queries.
    num_key_heads: heads of keys and values, each for several of queries.
    head_dim: channels of a head.
    hidden: channels of the feed-forward.
    rope_theta: base of the rotary frequencies.
    rope: their stretching.
    norm_epsilon: of RMSNorm.
    tied: the embedding also gives the logits.
    query_bias: queries, keys and values have a bias.
    proj_bias: the projection after attention has one.
    mlp_bias: the feed-forward has them.
    lora_rank: of low-rank updates of all projections; 0 for none.
    lora_alpha: their gain is lora_alpha / lora_rank.
    remat: recompute blocks in the backward pass instead of storing them.
    max_positions: tokens that the model was trained to read; 0 if unknown.
  """

  vocab_size: int
  width: int
  depth: int
  num_heads: int
  num_key_heads: int
  head_dim: int
  hidden: int
  rope_theta: float = 10_000.0
  rope: RopeScaling = RopeScaling()
  norm_epsilon: float = 1e-6
  tied: bool = False
  query_bias: bool = False
  proj_bias: bool = False
  mlp_bias: bool = False
  lora_rank: int = 0
  lora_alpha: float = 16.0
  remat: bool = False
  max_positions: int = 0


def rotary_frequencies(
  config: LanguageModelConfig,
) -> Float[np.ndarray, "E/2"]:
  """Radians per position of each pair of channels (Su et al. 2021)."""
  exponent = np.arange(0, config.head_dim, 2) / config.head_dim
  plain = config.rope_theta**-exponent
  rope = config.rope
  if rope.kind == "none":
    return plain
  if rope.kind == "linear":
    return plain / rope.factor
  # Shares of the first training length that a wave takes, turned into how much
  # of its frequency stays.
  turns = rope.original_length * plain / (2 * math.pi)
  stays = (turns - rope.low_factor) / (rope.high_factor - rope.low_factor)
  stays = np.clip(stays, 0, 1)
  return stays * plain + (1 - stays) * plain / rope.factor


def rotate(
  x: Float[Array, "N T A E"],
  positions: Int[Array, "N T"],
  frequencies: Float[np.ndarray, "F"],
) -> Float[Array, "N T A E"]:
  """Turns channel i and i + E/2 by position times frequency, in float32."""
  angles = positions[..., None] * jnp.asarray(frequencies, jnp.float32)
  cosine, sine = (f(angles)[:, :, None] for f in (jnp.cos, jnp.sin))
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate(
    [first * cosine - second * sine, second * cosine + first * sine], axis=-1
  )
  return turned.astype(x.dtype)


class RmsNorm(nn.Module):
  """x / sqrt(mean(x^2) + epsilon) times a learned gain."""

  epsilon: float

  @nn.compact
  def __call__(self, x: Float[Array, "N T D"]) -> Float[Array, "N T D"]:
    gain = self.param("scale", nn.initializers.ones, (x.shape[-1],))
    wide = x.astype(jnp.float32)
    power = jnp.mean(wide**2, axis=-1, keepdims=True)
    normed = wide * jax.lax.rsqrt(power + self.epsilon)
    return gain.astype(x.dtype) * normed.astype(x.dtype)


class Projection(nn.Module):
  """A dense layer with an optional low-rank update."""

  features: int
  bias: bool
  config: LanguageModelConfig
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Float[Array, "N T D"]) -> Float[Array, "N T F"]:
    init = nn.initializers.normal(0.02)
    rank, inputs = self.config.lora_rank, x.shape[-1]
    kernel = self.param("kernel", init, (inputs, self.features))
    y = x @ kernel.astype(self.dtype)
    if self.bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,))
      y = y + bias.astype(self.dtype)
    if rank:
      # The second starts at 0, so that training starts from the model itself.
      down = self.param("lora_a", nn.initializers.he_uniform(), (inputs, rank))
      up = self.param("lora_b", nn.initializers.zeros, (rank, self.features))
      update = x @ down.astype(self.dtype) @ up.astype(self.dtype)
      y = y + update * (self.config.lora_alpha / rank)
    return y


class _Attention(nn.Module):
  config: LanguageModelConfig
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self, x: Float[Array, "N T D"], past: KeyValues | None, slots: Slots
  ) -> tuple[Float[Array, "N T D"], KeyValues, Float[Array, "N T S"]]:
    config = self.config

    def heads(name: str, number: int) -> Float[Array, "N T A E"]:
      size = number * config.head_dim
      y = Projection(size, config.query_bias, config, self.dtype, name=name)(x)
      return einops.rearrange(y, "n t (a e) -> n t a e", a=number)

    frequencies = rotary_frequencies(config)
    queries = heads("query", config.num_heads)
    keys = heads("key", config.num_key_heads)
    queries, keys = (
      rotate(y, slots.positions, frequencies) for y in (queries, keys)
    )
    values = heads("value", config.num_key_heads)
    known = cache.remember(past, KeyValues(keys, values), slots)
    visible = slots.visible()
    mixed = cache.attend(queries, known, visible)
    # Computed only where somebody asks for it: XLA drops what nobody uses.
    looks = cache.attention_weights(queries, known, visible)
    mixed = einops.rearrange(mixed, "n t a e -> n t (a e)")
    out = Projection(
      config.width, config.proj_bias, config, self.dtype, name="proj"
    )
    return out(mixed), known, looks


class _FeedForward(nn.Module):
  """down(silu(gate(x)) * up(x)), Shazeer 2020."""

  config: LanguageModelConfig
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Float[Array, "N T D"]) -> Float[Array, "N T D"]:
    def dense(name: str, features: int) -> Projection:
      bias = self.config.mlp_bias
      return Projection(features, bias, self.config, self.dtype, name=name)

    hidden = self.config.hidden
    gated = jax.nn.silu(dense("gate", hidden)(x)) * dense("up", hidden)(x)
    return dense("down", self.config.width)(gated)


class _Block(nn.Module):
  config: LanguageModelConfig
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x, past, slots):
    epsilon = self.config.norm_epsilon
    branch, known, looks = _Attention(self.config, self.dtype, name="attn")(
      RmsNorm(epsilon, name="norm1")(x), past, slots
    )
    x = x + branch
    branch = _FeedForward(self.config, self.dtype, name="mlp")(
      RmsNorm(epsilon, name="norm2")(x)
    )
    return x + branch, known, looks


class LanguageModel(nn.Module):
  """The language model, on embedded tokens.

  Attributes:
    config: its shape.
    dtype: of activations; logits are float32.
  """

  config: LanguageModelConfig
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    config = self.config
    self.token_embedding = nn.Embed(
      config.vocab_size,
      config.width,
      embedding_init=nn.initializers.normal(0.02),
      dtype=self.dtype,
    )
    block = nn.remat(_Block) if config.remat else _Block
    for i in range(config.depth):
      setattr(self, f"block_{i:02d}", block(config, self.dtype))
    self.norm = RmsNorm(config.norm_epsilon)
    if not config.tied:
      plain = dataclasses.replace(config, lora_rank=0)
      self.output = Projection(config.vocab_size, False, plain, self.dtype)

  def embed(self, tokens: Int[Array, "N T"]) -> Float[Array, "N T D"]:
    """What the blocks see of tokens."""
    return self.token_embedding(tokens)

  def __call__(
    self,
    embedded: Float[Array, "N T D"],
    slots: Slots,
    past: tuple[KeyValues, ...] | None = None,
  ) -> tuple[Float[Array, "N T D"], tuple[KeyValues, ...]]:
    """Returns tokens after the final norm, and the cache that holds them."""
    x, layers, _ = self._run(embedded, slots, past)
    return x, layers

  def look(
    self, embedded: Float[Array, "N T D"], slots: Slots
  ) -> Float[Array, "N T S"]:
    """Share of attention on each token, the mean over layers and heads."""
    _, _, looks = self._run(embedded, slots, None)
    return jnp.mean(jnp.stack(looks), axis=0)

  def _run(self, embedded, slots, past):
    past = past or (None,) * self.config.depth
    x, layers, looks = embedded, [], []
    for i, old in enumerate(past):
      x, known, look = getattr(self, f"block_{i:02d}")(x, old, slots)
      layers.append(known)
      looks.append(look)
    return self.norm(x), tuple(layers), looks

  def logits(self, x: Float[Array, "N T D"]) -> Float[Array, "N T V"]:
    """Logits of the token after each one."""
    if self.config.tied:
      return self.token_embedding.attend(x).astype(jnp.float32)
    return self.output(x).astype(jnp.float32)
