"""Linear heads over pooled tokens, and which tokens each of them sees.

A film's features are the class tokens of the last blocks, oldest first, then
the mean patch token of the last block. Every set of features is then a run of
neighbouring columns.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scan42_jax.types import Array, Bool, Float


@dataclasses.dataclass(frozen=True)
class FeatureSet:
  """Tokens that a head sees.

  Attributes:
    layers: class tokens of so many last blocks.
    patch_mean: the mean patch token as well.
  """

  layers: int
  patch_mean: bool

  def __str__(self) -> str:
    blocks = "last block" if self.layers == 1 else f"last {self.layers} blocks"
    mean = " and mean patch" if self.patch_mean else ""
    return f"class token of {blocks}{mean}"

  def columns(self, total: int, *, width: int) -> slice:
    """Returns the columns of features with `total` columns in all.

    Raises:
      ValueError: the features hold fewer layers.
    """
    held = total // width - 1
    if self.layers > held:
      raise ValueError(f"features hold {held} layers, {self.layers} are wanted")
    first = (held - self.layers) * width
    return slice(first, total if self.patch_mean else total - width)


@dataclasses.dataclass(frozen=True)
class LinearHead:
  """Features to logits.

  Attributes:
    features: what it sees.
    kernel: weights.
    bias: of each label.
  """

  features: FeatureSet
  kernel: Float[np.ndarray, "F C"]
  bias: Float[np.ndarray, "C"]

  def scores(
    self, features: Float[np.ndarray, "N T"], *, width: int
  ) -> Float[np.ndarray, "N C"]:
    """Returns logits; see FeatureSet for `width`, that of a token."""
    columns = self.features.columns(features.shape[1], width=width)
    return features[:, columns] @ self.kernel + self.bias


def label_loss(
  logits: Float[Array, "*N C"],
  labels: Float[Array, "*N C"],
  valid: Bool[Array, "*N C"],
  *,
  exclusive: bool,
) -> Float[Array, "*N C"]:
  """Cross-entropy of each label, 0 where the label is unknown.

  Of exclusive classes it is that of the softmax, on the true class; else that
  of each label's own sigmoid.
  """
  if exclusive:
    terms = -labels * jax.nn.log_softmax(logits)
  else:
    terms = optax.sigmoid_binary_cross_entropy(logits, labels)
  return jnp.where(valid, terms, 0.0)


def mean_loss(
  logits: Float[Array, "N C"],
  labels: Float[Array, "N C"],
  valid: Bool[Array, "N C"],
  *,
  exclusive: bool,
) -> Float[Array, ""]:
  """Mean of `label_loss` over what is known: labels, or films if exclusive."""
  terms = label_loss(logits, labels, valid, exclusive=exclusive)
  known = valid.any(axis=-1) if exclusive else valid
  return terms.sum() / jnp.maximum(known.sum(), 1)


def probabilities(
  logits: Float[np.ndarray, "N C"], *, exclusive: bool
) -> Float[np.ndarray, "N C"]:
  """Softmax of exclusive classes, else the sigmoid of each label."""
  logits = logits.astype(np.float64)
  if exclusive:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
  return 0.5 * (1 + np.tanh(logits / 2))  # Does not overflow.
