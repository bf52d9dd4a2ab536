"""DINO loss and both teachers against DINOv2's numbers."""

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.losses.dino import cross_entropy, dino_loss
from scan42_jax.losses.teacher import (
  center_and_sharpen,
  sinkhorn_knopp,
  update_center,
)


def _by_image(rows, images):
  """[n_crops * B, K] crop-major -> [B, n_crops, K]."""
  return rows.reshape(-1, images, rows.shape[-1]).swapaxes(0, 1)


def _crop_major(x):
  return x.swapaxes(0, 1).reshape(-1, x.shape[-1])


@pytest.fixture(scope="module")
def golden(golden_file):
  return golden_files.load(golden_file("dino_loss.npz"))


@pytest.mark.parametrize("teacher", ["softmax", "sinkhorn"])
def test_golden_losses_and_gradients(golden, teacher):
  arrays, meta = golden
  images = meta["B"]
  temperature = meta["student_temp"]
  center = arrays["in/center_init"][0]
  for i, teacher_temperature in enumerate(meta["teacher_temp"]):
    expected = golden_files.strip(arrays, f"out/iter{i}/{teacher}/")
    logits = arrays["in/teacher_cls_logits"][i]
    if teacher == "softmax":
      probs = center_and_sharpen(logits, center, teacher_temperature)
    else:
      probs = sinkhorn_knopp(logits, teacher_temperature)
    np.testing.assert_allclose(
      probs.reshape(expected["teacher_probs"].shape),
      expected["teacher_probs"],
      atol=5e-6,
    )
    # The logits come with the crops exchanged; ours are in their own order.
    targets = _by_image(probs, images)[:, ::-1]

    def losses(student_global, student_local, targets=targets):
      return dino_loss(
        student_global, student_local, targets, temperature=temperature
      )

    students = (
      _by_image(arrays["in/student_global_logits"][i], images),
      _by_image(arrays["in/student_local_logits"][i], images),
    )
    parts = losses(*students)
    for part, name in zip(parts, ("global", "local"), strict=True):
      np.testing.assert_allclose(
        part, expected[f"dino_{name}_crops_loss"], rtol=1e-5
      )
    grads = jax.grad(lambda g, l: sum(losses(g, l)), argnums=(0, 1))(*students)  # noqa: E741
    for grad, name in zip(grads, ("global", "local"), strict=True):
      np.testing.assert_allclose(
        _crop_major(grad),
        expected[f"grad_student_{name}"],
        rtol=1e-4,
        atol=1e-6,
      )
    center = update_center(
      center, logits.mean(0), momentum=meta["center_momentum"]
    )


def test_golden_centers(golden):
  arrays, meta = golden
  center = arrays["in/center_init"][0]
  for i, logits in enumerate(arrays["in/teacher_cls_logits"]):
    used = arrays[f"out/iter{i}/center_used"][0]
    np.testing.assert_allclose(center, used, atol=1e-6)
    center = update_center(
      center, logits.mean(0), momentum=meta["center_momentum"]
    )
  np.testing.assert_allclose(center, arrays["out/center_final"][0], atol=1e-6)


def test_golden_sinkhorn_iterations(golden):
  arrays, meta = golden
  for name, expected in golden_files.strip(arrays, "out/sinkhorn_n").items():
    probs = sinkhorn_knopp(
      arrays["in/teacher_cls_logits"][0],
      meta["teacher_temp"][0],
      num_iterations=int(name.split("_")[0]),
    )
    np.testing.assert_allclose(probs, expected, atol=5e-6)


def test_sinkhorn_ignores_invalid_rows_and_never_overflows():
  logits = 50 * jax.random.normal(jax.random.key(0), (12, 5))
  valid = jnp.arange(12) % 3 != 0
  probs = sinkhorn_knopp(logits, 0.04, valid)
  assert jnp.isfinite(probs).all()
  assert not probs[~valid].any()
  calm = sinkhorn_knopp(logits / 50, 0.04, valid)
  np.testing.assert_allclose(
    calm[valid], sinkhorn_knopp(logits[valid] / 50, 0.04), atol=1e-6
  )
  np.testing.assert_allclose(calm[valid].sum(1), 1, atol=1e-6)


def test_loss_of_a_perfect_student_is_the_entropy_of_its_targets():
  logits = jax.random.normal(jax.random.key(1), (3, 7))
  probs = jax.nn.softmax(logits / 0.1)
  entropy = -jnp.sum(probs * jnp.log(probs), axis=-1)
  np.testing.assert_allclose(
    cross_entropy(logits, probs, temperature=0.1), entropy, rtol=1e-5, atol=1e-6
  )
