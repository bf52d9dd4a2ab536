"""A language model of seven billion parameters, shaped and never allocated."""

import math

import jax
import pytest

from benchmarks import report_plan
from scan42_jax.sharding import make_mesh


@pytest.fixture(scope="module")
def mesh():
  return make_mesh((1, 8, 1), jax.devices()[:8])


def test_a_state_of_seven_billion_is_lowered_for_eight_devices(mesh):
  net = report_plan.network()
  before = sum(array.nbytes for array in jax.live_arrays())
  plan = report_plan.plan_stage(net, mesh, "projector_and_lora", batch_size=16)
  moving, frozen = report_plan.abstract_parameters(
    net, mesh, "projector_and_lora"
  )
  parameters = sum(math.prod(leaf.shape) for leaf in frozen.values())
  assert 6.7e9 < parameters < 6.8e9
  assert plan.trained == sum(math.prod(leaf.shape) for leaf in moving.values())
  # Each device holds its eighth; what is repeated on all is small.
  eighth = parameters * 2 / 8 / 2**30
  assert eighth <= plan.gib["frozen, bfloat16"] < 1.01 * eighth
  assert plan.gib["moments"] == pytest.approx(2 * plan.gib["trained"], rel=1e-3)
  after = sum(array.nbytes for array in jax.live_arrays())
  assert after - before < 2**20


def test_generation_with_seven_billion_is_lowered_for_eight_devices(mesh):
  gib = report_plan.lower_generation(report_plan.network(), mesh, batch_size=64)
  # Two of 32 layers of 4096 channels in two bytes, 640 tokens, 8 texts each.
  assert gib == pytest.approx(2 * 32 * 4096 * 2 * 640 * 8 / 2**30)
