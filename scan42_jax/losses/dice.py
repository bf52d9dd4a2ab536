"""Losses of segmentation: cross-entropy, soft Dice, their mean."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from scan42_jax.types import Array, Float, Int

_SMOOTH = 1e-6  # In numerator and denominator: nothing found of nothing is 1.


def ce_dice_loss(
  logits: Float[Array, "N H W C"], labels: Int[Array, "N H W"]
) -> Float[Array, ""]:
  """Half the cross-entropy of pixels and half the Dice loss.

  Args:
    logits: of all classes, the background among them.
    labels: class of each pixel.
  """
  return 0.5 * cross_entropy(logits, labels) + 0.5 * dice_loss(logits, labels)


def cross_entropy(
  logits: Float[Array, "N H W C"], labels: Int[Array, "N H W"]
) -> Float[Array, ""]:
  """Mean over all pixels of -log softmax of the true class."""
  shares = jax.nn.log_softmax(logits)
  true = jnp.take_along_axis(shares, labels[..., None], axis=-1)
  return -jnp.mean(true)


def dice_loss(
  logits: Float[Array, "N H W C"], labels: Int[Array, "N H W"]
) -> Float[Array, ""]:
  """1 minus the soft Dice of softmax, mean over films and classes."""
  targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
  return 1 - jnp.mean(soft_dice(jax.nn.softmax(logits), targets))


def soft_dice(
  shares: Float[Array, "N H W C"], targets: Float[Array, "N H W C"]
) -> Float[Array, "N C"]:
  """(2 sum pt + s) / (sum p + sum t + s) of each film and class, s = 1e-6.

  Args:
    shares: probability of the class, p.
    targets: 0 or 1, t.
  """
  both = jnp.sum(shares * targets, axis=(1, 2))
  total = jnp.sum(shares, axis=(1, 2)) + jnp.sum(targets, axis=(1, 2))
  return (2 * both + _SMOOTH) / (total + _SMOOTH)
