"""The losses of segmentation against reference numbers, and what they mean."""

import golden_files
import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.losses import dice


def test_golden_losses_and_gradient(golden_file):
  arrays, meta = golden_files.load(golden_file("eval_segmentation.npz"))
  assert meta["smooth"] == 1e-6
  logits = jnp.asarray(golden_files.channels_last(arrays["in/logits"]))
  labels = jnp.asarray(arrays["in/labels"])
  np.testing.assert_allclose(
    dice.ce_dice_loss(logits, labels),
    arrays["out/ce_dice_loss"],
    rtol=1e-5,
  )
  loss, gradient = jax.value_and_grad(dice.dice_loss)(logits, labels)
  np.testing.assert_allclose(loss, arrays["out/dice_loss"], rtol=1e-5)
  np.testing.assert_allclose(
    gradient,
    golden_files.channels_last(arrays["out/dice_loss_grad"]),
    rtol=1e-4,
    atol=1e-6,
  )


def test_golden_binary_dice_loss(golden_file):
  arrays, _ = golden_files.load(golden_file("eval_segmentation.npz"))
  share = jax.nn.sigmoid(jnp.asarray(arrays["in/logits"][:, 0]))[..., None]
  target = jnp.asarray(arrays["in/labels"] == 1, jnp.float32)[..., None]
  np.testing.assert_allclose(
    1 - dice.soft_dice(share, target).mean(),
    arrays["out/binary_dice_loss_channel0_vs_class1"],
    rtol=1e-5,
  )


def test_certain_and_right_costs_nothing_and_wrong_costs_most():
  labels = jnp.asarray([[[0, 1], [2, 1]]])
  right = 50.0 * jax.nn.one_hot(labels, 3)
  wrong = 50.0 * jax.nn.one_hot((labels + 1) % 3, 3)
  assert dice.ce_dice_loss(right, labels) < 1e-5
  assert dice.dice_loss(wrong, labels) > 0.999
  assert dice.cross_entropy(wrong, labels) > 49


def test_a_class_that_is_nowhere_costs_nothing():
  labels = jnp.zeros((1, 4, 4), int)
  logits = 60.0 * jax.nn.one_hot(labels, 4)
  # exp(-60) of probability over 16 pixels is far below the smoothing.
  np.testing.assert_allclose(dice.dice_loss(logits, labels), 0, atol=1e-6)
