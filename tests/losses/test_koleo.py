"""KoLeo against DINOv2's numbers."""

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.losses.koleo import koleo_loss


@pytest.mark.parametrize(
  "case", ["random", "small_batch", "clustered", "unnormalized"]
)
def test_golden_loss_and_gradient(golden_file, case):
  arrays, _ = golden_files.load(golden_file("koleo_loss.npz"))
  x = arrays[f"in/{case}"]
  value, grad = jax.value_and_grad(koleo_loss)(x, group=len(x))
  np.testing.assert_allclose(value, arrays[f"out/{case}/loss"], rtol=1e-5)
  np.testing.assert_allclose(
    grad, arrays[f"out/{case}/grad"], rtol=1e-4, atol=1e-6
  )


def test_golden_duplicates_stay_finite(golden_file):
  arrays, _ = golden_files.load(golden_file("koleo_loss.npz"))
  x = arrays["in/duplicates"]
  value, grad = jax.value_and_grad(koleo_loss)(x, group=len(x))
  np.testing.assert_allclose(value, arrays["out/duplicates/loss"], rtol=1e-5)
  assert jnp.isfinite(grad).all()


def test_golden_step_value_is_a_group_per_crop(golden_file):
  arrays, meta = golden_files.load(golden_file("koleo_loss.npz"))
  x = arrays["in/random"]
  # The mean over two groups is half the sum over two crops.
  value = 2 * meta["koleo_loss_weight"] * koleo_loss(x, group=len(x) // 2)
  np.testing.assert_allclose(value, arrays["out/step_value"], rtol=1e-5)
