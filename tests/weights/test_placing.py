"""Weights from disk meet a network: what may differ, and what may not."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scan42_jax import paths
from scan42_jax.models.heads import ProjectionHead
from scan42_jax.models.position import resize_position_embedding
from scan42_jax.models.ssl import SelfDistillationNet
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.weights.initial import load_initial
from scan42_jax.weights.placing import place_encoder

CHUNKED = pathlib.Path(__file__).parent / "data" / "dinov2_reg4_chunked.pth"


@pytest.fixture(scope="module")
def initial():
  return load_initial(CHUNKED)


def _net(config, *, prototypes=8, shared=False):
  head = ProjectionHead(
    num_prototypes=prototypes, num_layers=2, hidden_dim=16, bottleneck_dim=4
  )
  return SelfDistillationNet(
    encoder=VisionTransformer(config),
    dino_head=head,
    ibot_head=None if shared else head,
  )


def _init(config, *, seed=0, **head):
  """Parameters of the network; drawn by numpy, which compiles nothing."""
  shapes = jax.eval_shape(_net(config, **head).init, jax.random.key(0))
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jnp.asarray(generator.normal(size=x.shape), x.dtype), shapes
  )


def _with_heads(initial, *names):
  """The same weights with heads, as a training checkpoint has them."""
  fresh = _init(initial.config, seed=7)
  heads = {
    name: {k: np.asarray(v) for k, v in paths.flatten(fresh[name]).items()}
    for name in names
  }
  return dataclasses.replace(initial, heads=heads)


def test_encoder_is_copied_and_fresh_heads_are_reported(initial):
  fresh = _init(initial.config)
  params, notes = place_encoder(fresh, initial)
  for path, value in paths.flatten(params["encoder"]).items():
    np.testing.assert_array_equal(value, initial.encoder[path])
  for head in ("dino_head", "ibot_head"):
    jax.tree.map(np.testing.assert_array_equal, params[head], fresh[head])
  assert notes == (
    f"dino_head starts fresh: {CHUNKED} has none",
    f"ibot_head starts fresh: {CHUNKED} has none",
  )


def test_dtype_and_sharding_of_the_network_are_kept(initial):
  mesh = Mesh(np.array(jax.devices()[:2]), ("fsdp",))
  fresh = jax.tree.map(
    lambda x: jax.device_put(
      x.astype(jnp.bfloat16),
      NamedSharding(
        mesh, PartitionSpec("fsdp" if x.shape[0] % 2 == 0 else None)
      ),
    ),
    _init(initial.config),
  )
  params, _ = place_encoder(fresh, initial)
  for new, old in zip(
    jax.tree.leaves(params), jax.tree.leaves(fresh), strict=True
  ):
    assert new.dtype == jnp.bfloat16
    assert new.sharding == old.sharding


def test_donating_the_parameters_leaves_the_weights_alone(initial):
  before = {path: x.copy() for path, x in initial.encoder.items()}
  params, _ = place_encoder(_init(initial.config), initial)
  double = jax.jit(
    lambda tree: jax.tree.map(lambda x: 2 * x, tree), donate_argnums=0
  )
  jax.block_until_ready(double(params))
  for path, x in initial.encoder.items():
    np.testing.assert_array_equal(x, before[path])


def test_missing_registers_start_fresh_and_are_reported(initial):
  bare = dict(initial.encoder)
  del bare["registers"]
  initial = dataclasses.replace(initial, encoder=bare)
  fresh = _init(initial.config)
  params, notes = place_encoder(fresh, initial)
  np.testing.assert_array_equal(
    params["encoder"]["registers"], fresh["encoder"]["registers"]
  )
  assert np.any(params["encoder"]["registers"])
  assert notes[0] == f"4 registers start fresh: {CHUNKED} has none"
  np.testing.assert_array_equal(
    params["encoder"]["cls_token"], bare["cls_token"]
  )


def test_position_table_of_another_grid_is_resized_and_reported(initial):
  config = dataclasses.replace(initial.config, image_size=70)
  params, notes = place_encoder(_init(config), initial)
  np.testing.assert_allclose(
    params["encoder"]["position_embedding"],
    resize_position_embedding(
      jnp.asarray(initial.encoder["position_embedding"]),
      (5, 5),
      offset=0.0,
      antialias=True,
    ),
    rtol=1e-6,
  )
  assert notes[0] == (
    f"position_embedding of {CHUNKED} was resized from 3 x 3 to 5 x 5 patches"
  )


@pytest.mark.parametrize(
  "change, mismatch",
  [
    (
      {"num_registers": 2},
      "encoder/registers is (4, 64) in the file and should be (2, 64)",
    ),
    (
      {"num_registers": 0},
      "encoder/registers is (4, 64) in the file and should be absent",
    ),
    (
      {"width": 128},
      "encoder/block_00/attn/proj/bias is (64,) in the file and should be"
      " (128,)",
    ),
    (
      {"depth": 3},
      "encoder/block_02/attn/proj/bias is absent in the file and should be"
      " (64,)",
    ),
    (
      {"depth": 1},
      "encoder/block_01/norm1/scale is (64,) in the file and should be absent",
    ),
    (
      {"swiglu": True},
      "encoder/block_00/mlp/w12/bias is absent in the file and should be"
      " (352,)",
    ),
    (
      {"patch_size": 7, "image_size": 21},
      "encoder/patch_embed/proj/kernel is (588, 64) in the file and should be"
      " (147, 64)",
    ),
  ],
)
def test_other_networks_are_refused(initial, change, mismatch):
  fresh = _init(dataclasses.replace(initial.config, **change))
  with pytest.raises(ValueError) as caught:
    place_encoder(fresh, initial)
  line = str(caught.value)
  assert line.startswith(f"{CHUNKED}: does not fit the network: {mismatch}; ")
  assert line.endswith("; take the encoder's shape from the file")


def test_heads_of_the_same_shape_are_loaded(initial):
  initial = _with_heads(initial, "dino_head", "ibot_head")
  params, notes = place_encoder(_init(initial.config), initial)
  assert notes == ()
  for name, head in initial.heads.items():
    for path, value in paths.flatten(params[name]).items():
      np.testing.assert_array_equal(value, head[path])


def test_heads_of_another_shape_start_fresh(initial):
  initial = _with_heads(initial, "dino_head")
  fresh = _init(initial.config, prototypes=16)
  params, notes = place_encoder(fresh, initial)
  assert notes == (
    f"dino_head starts fresh: {CHUNKED}: dino_head/prototypes/direction is"
    " (4, 8) in the file and should be (4, 16)",
    f"ibot_head starts fresh: {CHUNKED} has none",
  )
  jax.tree.map(
    np.testing.assert_array_equal, params["dino_head"], fresh["dino_head"]
  )


def test_unused_head_is_reported(initial):
  initial = _with_heads(initial, "dino_head", "ibot_head")
  params, notes = place_encoder(_init(initial.config, shared=True), initial)
  assert "ibot_head" not in params
  assert notes == (f"ibot_head of {CHUNKED} is not used: the network has none",)
