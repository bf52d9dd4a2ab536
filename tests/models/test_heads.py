"""The projection head against DINOv2's numbers."""

import golden_files
import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax import paths
from scan42_jax.models.heads import ProjectionHead, unit_length
from scan42_jax.weights.dinov2 import from_dinov2


def test_golden_logits_and_gradients(golden_file):
  arrays, meta = golden_files.load(golden_file("dino_head.npz"))
  for i, case in enumerate(meta["cases"]):
    data = golden_files.strip(arrays, f"case{i}/")
    head = ProjectionHead(
      num_prototypes=case["out_dim"],
      num_layers=case["nlayers"],
      hidden_dim=case["hidden_dim"],
      bottleneck_dim=case["bottleneck_dim"],
    )
    params = golden_files.tree(golden_files.strip(data, "param/"))

    def sum_of_squares(params, x, head=head):
      return jnp.sum(head.apply({"params": params}, x) ** 2)

    logits = head.apply({"params": params}, data["in/x"])
    np.testing.assert_allclose(logits, data["out/logits"], rtol=1e-5, atol=1e-5)
    gradients = jax.grad(sum_of_squares, argnums=(0, 1))(params, data["in/x"])
    np.testing.assert_allclose(
      gradients[1], data["out/grad_x_of_sum_sq"], rtol=1e-4, atol=1e-5
    )
    expected = from_dinov2(
      golden_files.strip(data, "out/grad_param_of_sum_sq/")
    )
    ours = paths.flatten(gradients[0])
    assert ours.keys() == expected.keys()
    for path, value in expected.items():
      np.testing.assert_allclose(ours[path], value, rtol=1e-4, atol=1e-5)


def test_unit_length_of_zero_is_zero_with_a_finite_gradient():
  zero = jnp.zeros(4)
  assert not unit_length(zero).any()
  assert jnp.isfinite(jax.jacobian(unit_length)(zero)).all()
