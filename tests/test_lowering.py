"""What the compiled step is: for every platform, once, and without the host."""

import jax
import jax.export
import jax.numpy as jnp
import pytest
import tiny

from scan42_jax.optim import Optimizer
from scan42_jax.program import compile_step, state_shapes, state_shardings
from scan42_jax.train_step import init_state


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_step_lowers_for_accelerators(platform, dtype):
  settings = tiny.settings(dtype=dtype)
  mesh = tiny.single_device_mesh()
  with jax.set_mesh(mesh):
    exported = jax.export.export(
      compile_step(settings, mesh), platforms=[platform]
    )(state_shapes(settings), tiny.films(settings))
  assert exported.platforms == (platform,)
  assert exported.nr_devices == 1


def test_steps_compile_once_and_move_nothing_to_or_from_the_host():
  settings = tiny.settings()
  mesh = tiny.single_device_mesh()
  net, optimizer = settings.net(), Optimizer(settings.optimizer)
  with jax.set_mesh(mesh):
    state = jax.jit(
      lambda key: init_state(net, optimizer, net.init(key)),
      out_shardings=state_shardings(settings, mesh),
    )(jax.random.key(0))
    films = [
      jax.device_put(
        tiny.films(settings, step=i), jax.NamedSharding(mesh, jax.P())
      )
      for i in range(3)
    ]
    step = compile_step(settings, mesh)
    state, _ = step(state, films[0])
    with jax.transfer_guard("disallow"):
      for batch in films:
        state, metrics = step(state, batch)
    assert step._cache_size() == 1
  assert jnp.isfinite(metrics["loss"])
