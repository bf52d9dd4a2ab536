"""The parts of a vision transformer block, parameters only.

Numbers agree with DINOv2's layers: pre-norm, LayerScale on both branches, exact
GELU or SwiGLU, stochastic depth by sample.
"""

from __future__ import annotations

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.models.attend import attend
from scan42_jax.types import Array, Float

DENSE_INIT = nn.initializers.truncated_normal(0.02)


Crops = tuple[tuple[int, int], ...]
"""(crops, tokens of one) for each resolution in a row of tokens.

All of an image's crops lie in one row, so that norms and matrix products see
one large array; only attention tells crops apart.
"""


class PatchEmbed(nn.Module):
  """Cuts an image into patches and projects each: one matrix product."""

  width: int
  patch_size: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N P D"]:
    size = self.patch_size
    patches = einops.rearrange(
      images, "n (h p) (w q) c -> n (h w) (p q c)", p=size, q=size
    )
    dense = nn.Dense(
      self.width, kernel_init=DENSE_INIT, dtype=self.dtype, name="proj"
    )
    return dense(patches)


class Attention(nn.Module):
  """Multi-head self-attention with one fused query-key-value projection."""

  num_heads: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self, tokens: Float[Array, "N T D"], crops: Crops | None = None
  ) -> Float[Array, "N T D"]:
    width = tokens.shape[-1]
    qkv = _dense(3 * width, self.dtype, "qkv")(tokens)
    mixed, start = [], 0
    for count, length in crops or ((1, tokens.shape[1]),):
      end = start + count * length
      q, k, v = einops.rearrange(
        qkv[:, start:end],
        "n (c t) (three h d) -> three (n c) t h d",
        c=count,
        three=3,
        h=self.num_heads,
      )
      mixed.append(
        einops.rearrange(
          attend(q, k, v), "(n c) t h d -> n (c t) (h d)", c=count
        )
      )
      start = end
    return _dense(width, self.dtype, "proj")(jnp.concatenate(mixed, axis=1))


class Mlp(nn.Module):
  """Two dense layers with exact (erf) GELU."""

  hidden: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Float[Array, "N T D"]) -> Float[Array, "N T D"]:
    hidden = _gelu(_dense(self.hidden, self.dtype, "fc1")(x))
    return _dense(x.shape[-1], self.dtype, "fc2")(hidden)


class SwiGlu(nn.Module):
  """Gated feed-forward: silu(a) * b (Shazeer, 2020), hidden cut to 2/3."""

  hidden: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Float[Array, "N T D"]) -> Float[Array, "N T D"]:
    # 2/3 keeps the parameter count of the plain MLP; whole multiples of 8.
    hidden = (int(self.hidden * 2 / 3) + 7) // 8 * 8
    gate, value = jnp.split(
      _dense(2 * hidden, self.dtype, "w12")(x), 2, axis=-1
    )
    return _dense(x.shape[-1], self.dtype, "w3")(jax.nn.silu(gate) * value)


class LayerScale(nn.Module):
  """A learned gain per channel (Touvron et al., 2021)."""

  initial: float

  @nn.compact
  def __call__(self, x: Float[Array, "N T D"]) -> Float[Array, "N T D"]:
    init = nn.initializers.constant(self.initial)
    gamma = self.param("gamma", init, (x.shape[-1],))
    return x * gamma.astype(x.dtype)


class Block(nn.Module):
  """Pre-norm transformer block."""

  num_heads: int
  hidden: int
  swiglu: bool
  layer_scale: float
  drop_path: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self, x: Float[Array, "N T D"], train: bool, crops: Crops | None = None
  ) -> Float[Array, "N T D"]:
    feed_forward = SwiGlu if self.swiglu else Mlp
    branch = Attention(self.num_heads, self.dtype, name="attn")(
      layer_norm(self.dtype, "norm1")(x), crops
    )
    branch = LayerScale(self.layer_scale, name="scale1")(branch)
    x = x + self._drop(branch, train, crops)
    branch = feed_forward(self.hidden, self.dtype, name="mlp")(
      layer_norm(self.dtype, "norm2")(x)
    )
    branch = LayerScale(self.layer_scale, name="scale2")(branch)
    return x + self._drop(branch, train, crops)

  def _drop(
    self, branch: Float[Array, "N T D"], train: bool, crops: Crops | None
  ) -> Float[Array, "N T D"]:
    """Drops the branch of whole crops and rescales the kept ones."""
    if not train or self.drop_path == 0:
      return branch
    counts, lengths = zip(*crops or ((1, branch.shape[1]),), strict=True)
    keep = jax.random.bernoulli(
      self.make_rng("drop_path"),
      1 - self.drop_path,
      (len(branch), sum(counts)),
    )
    keep = jnp.repeat(
      keep,
      np.repeat(lengths, counts),
      axis=1,
      total_repeat_length=branch.shape[1],
    )
    return jnp.where(keep[..., None], branch / (1 - self.drop_path), 0)


def layer_norm(dtype: jnp.dtype, name: str | None = None) -> nn.LayerNorm:
  """LayerNorm with DINOv2's epsilon and an exact two-pass variance.

  Its float32 steps are done again in the backward pass: kept, they would be a
  third of a block's memory.
  """
  return nn.remat(nn.LayerNorm)(
    epsilon=1e-6, dtype=dtype, use_fast_variance=False, name=name
  )


@jax.checkpoint
def _gelu(x: Float[Array, "N T D"]) -> Float[Array, "N T D"]:
  # Done again in the backward pass: half of the memory, little work.
  return jax.nn.gelu(x, approximate=False)


def _dense(features: int, dtype: jnp.dtype, name: str) -> nn.Dense:
  return nn.Dense(features, kernel_init=DENSE_INIT, dtype=dtype, name=name)
