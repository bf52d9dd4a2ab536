"""Counts of arithmetic against the published ones and against the program."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
import tiny

from scan42_jax import compute
from scan42_jax.models.vit import VIT_SHAPES, VisionTransformer, ViTConfig
from scan42_jax.program import compile_step, state_shapes
from scan42_jax.settings import HeadSettings, Settings


@pytest.mark.parametrize(
  ("size", "gflop", "exaflop"), [("S", 93.8, 3.63), ("B", 304.2, 14.42)]
)
def test_counts_of_the_published_encoders(size, gflop, exaflop):
  config = ViTConfig(**VIT_SHAPES[size])
  assert compute.encoder_flops(config, 518) == pytest.approx(gflop * 1e9, 2e-3)
  # 60,000 steps of 1,024 films is what the published figures fit.
  total = compute.paper_flops(config, 518, 60_000 * 1024)
  assert total == pytest.approx(exaflop * 1e18, rel=2e-3)


@pytest.mark.parametrize(
  ("size", "prototypes", "gflop"),
  [("S", 16384, 847), ("S", 131072, 995), ("B", 16384, 2701)],
)
def test_work_of_a_step_is_that_of_the_published_run(size, prototypes, gflop):
  head = HeadSettings(num_prototypes=prototypes)
  settings = dataclasses.replace(
    Settings(),
    model=ViTConfig(**VIT_SHAPES[size]),
    dino_head=head,
    ibot_head=head,
  )
  assert compute.step_flops(settings) == pytest.approx(gflop * 1e9, rel=2e-3)


@pytest.mark.parametrize("swiglu", [False, True])
def test_traced_count_of_an_encoder_is_the_analytic_one(swiglu):
  config = ViTConfig(32, 3, 2, image_size=56, swiglu=swiglu)
  net = VisionTransformer(config)
  image = jnp.zeros((2, 56, 56, 3))
  params = jax.eval_shape(net.init, jax.random.key(0), image)
  traced = compute.traced_flops(net.apply, params, image)
  expected = 2 * compute.encoder_flops(config, 56)
  assert traced == pytest.approx(expected, rel=1e-6)


def test_traced_count_sees_loops():
  x = jnp.zeros((4, 4))

  def loop(x):
    return jax.lax.scan(lambda c, _: (jax.jit(jnp.dot)(c, c), None), x, None, 7)

  assert compute.traced_flops(loop, x) == 7 * 2 * 4**3


def test_pace_is_the_work_per_second():
  settings = tiny.settings()
  values = compute.pace(settings, 10.0)
  assert set(values) == {"model_tflop_per_second"}  # No chip that we know.
  expected = compute.step_flops(settings) / 1e11
  assert values["model_tflop_per_second"] == pytest.approx(expected)
  assert compute.peak_flops("NVIDIA H100 80GB HBM3") == 989e12


def test_a_step_does_little_more_than_useful_work():
  """On crops large enough that the work of encoders and heads dominates."""
  settings = tiny.settings(
    **{
      "model.width": 128,
      "model.depth": 4,
      "crops.global_size_px": 112,
      "data.canvas_px": 64,
      "dino_head.num_prototypes": 512,
      "ibot_head.num_prototypes": 512,
    }
  )
  mesh = tiny.single_device_mesh()
  with jax.set_mesh(mesh):
    step = compile_step(settings, mesh)
    films = tiny.films(settings)
    traced = compute.traced_flops(step, state_shapes(settings), films)
  useful = compute.step_flops(settings) * settings.batch_size
  assert traced / useful == pytest.approx(1, abs=0.05)
