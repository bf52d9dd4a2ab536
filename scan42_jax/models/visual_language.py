"""A language model that reads a film's patches as if they were tokens.

Patches go through an MLP into the language model's embedding space and stand
where the prompt has image tokens (Liu et al. 2023, arXiv:2310.03744). Same
interface as ReportDecoder.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from scan42_jax.models import cached_attention as cache
from scan42_jax.models.cached_attention import TextState
from scan42_jax.models.language_model import LanguageModel, LanguageModelConfig
from scan42_jax.models.layers import DENSE_INIT
from scan42_jax.types import Array, Bool, Float, Int

IMAGE = -1
"""Stands in a prompt for each visual token, in their order."""


class Projector(nn.Module):
  """Dense layers with exact GELU between them."""

  layers: int
  width: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Float[Array, "N P W"]) -> Float[Array, "N P D"]:
    for i in range(self.layers):
      if i:
        x = jax.nn.gelu(x, approximate=False)
      x = nn.Dense(
        self.width, kernel_init=DENSE_INIT, dtype=self.dtype, name=f"fc{i + 1}"
      )(x)
    return x


def num_visual_tokens(grid: tuple[int, int], pool: int) -> int:
  """Visual tokens of a grid of patches."""
  return -(-grid[0] // pool) * -(-grid[1] // pool)


class VisualLanguageModel(nn.Module):
  """Projector and language model.

  Attributes:
    config: of the language model.
    projector_layers: dense layers before it.
    grid: rows and columns of patches.
    pool: side of the square of patches whose mean is one token; squares at the
      lower and right border may be cut.
    dtype: of activations.
  """

  config: LanguageModelConfig
  projector_layers: int
  grid: tuple[int, int]
  pool: int = 1
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    self.projector = Projector(
      self.projector_layers, self.config.width, self.dtype
    )
    self.language_model = LanguageModel(self.config, self.dtype)

  def __call__(
    self,
    patches: Float[Array, "N P W"],
    tokens: Int[Array, "N T"],
    valid: Bool[Array, "N T"],
    *,
    train: bool = False,
  ) -> Float[Array, "N T V"]:
    """Logits of the token after each one; see ReportDecoder.

    Args:
      patches: patch tokens of the encoder.
      tokens: texts with IMAGE where the film stands, padded on either side.
      valid: tokens that are no padding.
      train: nothing is dropped; for the same interface.
    """
    del train
    embedded = self._embed(patches, tokens)
    x, _ = self.language_model(embedded, cache.whole_text(valid))
    return self.language_model.logits(x)

  def prefill(
    self,
    patches: Float[Array, "N P W"],
    tokens: Int[Array, "N T"],
    valid: Bool[Array, "N T"],
    *,
    room: int,
  ) -> tuple[Float[Array, "N V"], TextState]:
    """Reads prompts; see ReportDecoder."""
    slots = cache.prompt(valid, room=room)
    x, layers = self.language_model(self._embed(patches, tokens), slots)
    logits = self.language_model.logits(x[:, -1:])[:, 0]
    return logits, TextState(layers, (), slots.valid)

  def extend(
    self, tokens: Int[Array, "N"], state: TextState, offset: Int[Array, ""]
  ) -> tuple[Float[Array, "N V"], TextState]:
    """Reads one token more of each text; see ReportDecoder."""
    slots = cache.next_token(state, offset)
    embedded = self.language_model.embed(tokens[:, None])
    x, layers = self.language_model(embedded, slots, state.layers)
    logits = self.language_model.logits(x)[:, 0]
    return logits, TextState(layers, (), slots.valid)

  def look(
    self,
    patches: Float[Array, "N P W"],
    tokens: Int[Array, "N T"],
    valid: Bool[Array, "N T"],
  ) -> Float[Array, "N T P"]:
    """Share of attention on each patch; see ReportDecoder.

    Of the attention that goes to the film at all. A token that stands for
    several patches gives each of them the same.
    """
    embedded = self._embed(patches, tokens)
    looks = self.language_model.look(embedded, cache.whole_text(valid))
    rows, columns = (-(-side // self.pool) for side in self.grid)
    first = jnp.argmax(tokens == IMAGE, axis=1)[:, None, None]
    place = first + jnp.arange(rows * columns)
    seen = jnp.take_along_axis(looks, place, axis=2)
    square = seen.reshape(*seen.shape[:2], rows, columns)
    for axis in (2, 3):
      square = jnp.repeat(square, self.pool, axis=axis)
    spread = square[:, :, : self.grid[0], : self.grid[1]]
    spread = spread.reshape(*seen.shape[:2], -1)
    return spread / jnp.maximum(spread.sum(axis=2, keepdims=True), 1e-12)

  def visual(self, patches: Float[Array, "N P W"]) -> Float[Array, "N M D"]:
    """Visual tokens of films."""
    if self.pool > 1:
      square = patches.reshape(len(patches), *self.grid, -1)
      window = (self.pool, self.pool)
      pooled = nn.avg_pool(
        square, window, window, padding="SAME", count_include_pad=False
      )
      patches = pooled.reshape(len(patches), -1, patches.shape[-1])
    return self.projector(patches)

  def _embed(
    self, patches: Float[Array, "N P W"], tokens: Int[Array, "N T"]
  ) -> Float[Array, "N T D"]:
    here = (tokens == IMAGE)[..., None]
    words = self.language_model.embed(jnp.maximum(tokens, 0))
    visual = self.visual(patches)
    place = jnp.maximum(jnp.cumsum(here, axis=1) - 1, 0)
    place = jnp.minimum(place, visual.shape[1] - 1)
    return jnp.where(here, jnp.take_along_axis(visual, place, axis=1), words)
