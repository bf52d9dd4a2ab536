"""iBOT loss against DINOv2's numbers."""

import golden_files
import jax
import numpy as np
import pytest

from scan42_jax.losses.ibot import ibot_loss
from scan42_jax.losses.prototypes import PrototypeTargets, balance_prototypes
from scan42_jax.losses.teacher import update_center


@pytest.fixture(scope="module")
def golden(golden_file):
  return golden_files.load(golden_file("ibot_loss.npz"))


def _weights(mask):
  """1 / masked patches of the image, one per masked patch."""
  share = 1 / np.maximum(mask.sum(-1, keepdims=True), 1)
  return np.broadcast_to(share, mask.shape)[mask].astype(np.float32)


@pytest.mark.parametrize("teacher", ["softmax", "sinkhorn"])
def test_golden_loss_and_gradient(golden, teacher):
  arrays, meta = golden
  center = arrays["in/center_init"].ravel()
  for i, temperature in enumerate(meta["teacher_temp"]):
    expected = golden_files.strip(arrays, f"out/iter{i}/{teacher}/")
    mask = arrays["in/masks"][i]
    np.testing.assert_allclose(
      _weights(mask), arrays[f"out/iter{i}/masks_weight"], rtol=1e-6
    )
    student = arrays[f"in/student_masked_logits_padded_{i}"]
    padding = len(student) - mask.sum()
    weights = np.pad(_weights(mask), (0, padding))
    logits = arrays[f"in/teacher_masked_logits_{i}"]
    padded = np.pad(logits, [(0, padding), (0, 0)])
    identity = np.eye(padded.shape[-1], dtype=np.float32)
    if teacher == "softmax":
      bias = -center / temperature
    else:
      bias = balance_prototypes(
        padded[None], identity, temperature, valid=(weights > 0)[None]
      )
    targets = PrototypeTargets(padded[None], identity, bias, temperature)
    np.testing.assert_allclose(
      targets.probs(logits), expected["teacher_probs"], atol=5e-6
    )

    def loss(student, targets=targets, weights=weights, mask=mask):
      return ibot_loss(
        student[None],
        targets.kernel,
        targets,
        weights[None],
        num_crops=len(mask),
        temperature=meta["student_temp"],
      )

    value, grad = jax.value_and_grad(loss)(student)
    np.testing.assert_allclose(value, expected["forward_masked"], rtol=1e-5)
    np.testing.assert_allclose(
      grad, expected["grad_student"], rtol=1e-4, atol=1e-6
    )
    center = update_center(
      center, logits.mean(0), momentum=meta["center_momentum"]
    )
  np.testing.assert_allclose(
    center, arrays["out/center_final"].ravel(), atol=1e-6
  )


def test_golden_dense_layout(golden):
  arrays, meta = golden
  mask = arrays["in/masks"][0][:2]
  teacher = arrays["in/dense_teacher_logits"]
  identity = np.eye(teacher.shape[-1], dtype=np.float32)
  targets = PrototypeTargets(
    teacher, identity, np.zeros(len(identity)), meta["teacher_temp"][0]
  )
  np.testing.assert_allclose(
    targets.probs(teacher), arrays["out/dense/teacher_probs"], atol=5e-6
  )
  loss = ibot_loss(
    arrays["in/dense_student_logits"],
    identity,
    targets,
    mask / np.maximum(mask.sum(-1, keepdims=True), 1),
    num_crops=len(mask),
    temperature=meta["student_temp"],
  )
  np.testing.assert_allclose(loss, arrays["out/dense/loss"], rtol=1e-5)
