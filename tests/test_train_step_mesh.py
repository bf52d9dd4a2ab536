"""The step on meshes, in micro-batches, and on batches that are not finite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from scan42_jax import paths
from scan42_jax.optim import Optimizer
from scan42_jax.program import compile_step, state_shardings
from scan42_jax.sharding import make_mesh
from scan42_jax.train_step import init_state


def _start(settings, mesh, step=3):
  """A state in the middle of the warm-up, where every rate is above 0."""
  net, optimizer = settings.net(), Optimizer(settings.optimizer)

  def init(key):
    state = init_state(net, optimizer, net.init(key))
    return state.replace(step=jnp.asarray(step, jnp.int32))

  places = state_shardings(settings, mesh)
  return jax.jit(init, out_shardings=places)(jax.random.key(1))


def _one_step(settings, mesh, films=None):
  with jax.set_mesh(mesh):
    step = compile_step(settings, mesh)
    films = tiny.films(settings) if films is None else films
    state, metrics = step(_start(settings, mesh), films)
  return jax.device_get(state), jax.device_get(metrics)


@pytest.fixture(scope="module")
def one_device():
  settings = tiny.settings()
  return _one_step(settings, tiny.single_device_mesh())


def _assert_same(ours, theirs, atol=1e-5):
  (state, metrics), (expected, expected_metrics) = ours, theirs
  for name, value in expected_metrics.items():
    np.testing.assert_allclose(
      metrics[name], value, rtol=1e-5, atol=atol, err_msg=name
    )
  # Moments hold the gradients; AdamW's step itself blows up rounding noise
  # where a gradient is zero, so there parameters may differ by the rate.
  moments = paths.flatten(expected.opt_state.mu)
  for path, value in paths.flatten(state.opt_state.mu).items():
    np.testing.assert_allclose(value, moments[path], atol=atol, err_msg=path)
  for tree in ("student", "teacher"):
    reference = paths.flatten(getattr(expected, tree))
    for path, value in paths.flatten(getattr(state, tree)).items():
      sure = np.abs(moments[path]) > 1e-6
      np.testing.assert_allclose(
        value[sure], reference[path][sure], atol=atol, err_msg=path
      )
  for head, center in expected.centers.items():
    np.testing.assert_allclose(state.centers[head], center, atol=atol)


@pytest.mark.parametrize(
  "shape, scan_blocks",
  [
    ((8, 1, 1), False),
    ((2, 4, 1), False),
    ((2, 2, 2), False),
    ((2, 2, 2), True),
  ],
)
def test_meshes_equal_one_device(one_device, shape, scan_blocks):
  settings = tiny.settings(**{"model.scan_blocks": scan_blocks})
  _assert_same(_one_step(settings, make_mesh(shape)), one_device)


def test_parameters_are_split_by_the_rules():
  settings = tiny.settings()
  state = _start(settings, make_mesh((2, 2, 2)))
  kernel = state.opt_state.mu["encoder"]["block_00"]["attn"]["qkv"]["kernel"]
  assert kernel.sharding.shard_shape(kernel.shape) == (16, 48)
  direction = state.teacher["dino_head"]["prototypes"]["direction"]
  assert direction.sharding.shard_shape(direction.shape) == (8, 32)


def test_micro_batches_equal_one_batch(one_device):
  many = tiny.settings(accumulation_steps=4)
  mesh = make_mesh((2, 1, 1), jax.devices()[:2])
  state, metrics = _one_step(many, mesh)
  whole, expected = one_device
  # It counts within a micro-batch; all else is a mean.
  del metrics["prototype_use"]
  kept = {name: expected[name] for name in metrics}
  _assert_same((state, metrics), (whole, kept))


def test_sinkhorn_balances_within_a_micro_batch():
  # Stated in make_train_step: the joint normalisation makes the difference.
  fields = {"objective.teacher": "sinkhorn_knopp"}
  mesh = tiny.single_device_mesh()
  _, one = _one_step(tiny.settings(**fields), mesh)
  _, many = _one_step(tiny.settings(accumulation_steps=4, **fields), mesh)
  assert abs(one["loss"] - many["loss"]) > 1e-4


def test_reference_ibot_center_averages_group_means(one_device):
  settings = tiny.settings(**{"objective.ibot_center": "groups"})
  state, _ = _one_step(settings, tiny.single_device_mesh())
  token_weighted, _ = one_device
  assert (
    np.abs(state.centers["ibot"] - token_weighted.centers["ibot"]).max() > 1e-5
  )
  np.testing.assert_allclose(
    state.centers["dino"], token_weighted.centers["dino"], atol=1e-6
  )


def test_a_step_of_too_large_a_gradient_is_skipped(one_device):
  mesh = tiny.single_device_mesh()
  _, metrics = one_device
  largest = max(v for k, v in metrics.items() if k.startswith("grad_norm_"))
  for factor, skipped in ((1.01, 0), (0.99, 1)):
    limit = float(largest) * factor
    settings = tiny.settings(**{"optimizer.skip_norm": limit})
    before = jax.device_get(_start(settings, mesh))
    state, metrics = _one_step(settings, mesh)
    assert metrics["skipped_in_a_row"] == skipped
    same = [
      np.array_equal(a, b)
      for a, b in zip(
        jax.tree.leaves(state.student),
        jax.tree.leaves(before.student),
        strict=True,
      )
    ]
    assert all(same) == bool(skipped)


def test_a_step_that_is_not_finite_changes_nothing_but_the_counters():
  # A standard deviation of 0 makes every pixel of a batch infinite.
  settings = tiny.settings(**{"crops.std": (0.0, 1.0, 1.0)})
  mesh = tiny.single_device_mesh()
  before = jax.device_get(_start(settings, mesh))
  state, metrics = _one_step(settings, mesh)
  assert not np.isfinite(metrics["loss"])
  assert state.step == before.step + 1
  assert state.skipped_in_a_row == 1
  restored = state.replace(
    step=before.step, skipped_in_a_row=before.skipped_in_a_row
  )
  jax.tree.map(np.testing.assert_array_equal, restored, before)


def test_a_second_step_compiles_nothing_new():
  settings, mesh = tiny.settings(), tiny.single_device_mesh()
  with jax.set_mesh(mesh):
    step = compile_step(settings, mesh)
    state = _start(settings, mesh)
    for number in range(2):
      state, _ = step(state, tiny.films(settings, step=number))
  assert step._cache_size() == 1


def test_loss_terms_sum_to_the_loss(one_device):
  _, metrics = one_device
  terms = ("dino_global", "dino_local", "ibot", "koleo")
  assert sum(metrics[t] for t in terms) == pytest.approx(metrics["loss"], 1e-5)


def test_bfloat16_keeps_state_and_losses_float32(one_device):
  settings = tiny.settings(dtype="bfloat16")
  state, metrics = _one_step(settings, tiny.single_device_mesh())
  floats = [x for x in jax.tree.leaves((state, metrics)) if x.dtype.kind == "f"]
  assert {x.dtype for x in floats} == {np.dtype("float32")}
  _, exact = one_device
  assert metrics["loss"] == pytest.approx(exact["loss"], rel=0.02)


def test_drop_path_depends_on_the_step_alone():
  settings = tiny.settings(**{"model.drop_path": 0.5})
  run = functools.partial(_one_step, settings)
  first = run(tiny.single_device_mesh())
  _assert_same(run(make_mesh((2, 2, 2))), first)


def test_head_warm_up_moves_the_heads_alone_and_then_all():
  fields = {"schedule.freeze_encoder_steps": 5, "schedule.weight_decay": 0.1}
  settings = tiny.settings(**fields)
  mesh = tiny.single_device_mesh()
  with jax.set_mesh(mesh):
    step = compile_step(settings, mesh)
    states = [jax.device_get(_start(settings, mesh))]
    for i in range(3):  # Steps 3, 4 and 5.
      state, _ = step(jax.device_put(states[-1]), tiny.films(settings, step=i))
      states.append(jax.device_get(state))

  def moved(module, tree, i):
    before, after = (getattr(s, tree)[module] for s in states[i : i + 2])
    same = jax.tree.map(np.array_equal, before, after)
    return not all(jax.tree.leaves(same))

  for tree in ("student", "teacher"):
    assert [moved("encoder", tree, i) for i in range(3)] == [False, False, True]
    assert [moved("dino_head", tree, i) for i in range(3)] == [True] * 3
