"""DINOv2's names and shapes: every parameter there and back again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax import paths
from scan42_jax.models.heads import ProjectionHead
from scan42_jax.models.vit import VisionTransformer, ViTConfig
from scan42_jax.weights.dinov2 import from_dinov2, to_dinov2


def _random(module, example):
  """Parameters of a module by path, every number another one."""
  tree = jax.eval_shape(module.init, jax.random.key(0), example)["params"]
  rng = np.random.default_rng(0)
  return {
    path: rng.normal(size=x.shape).astype(np.float32)
    for path, x in paths.flatten(tree).items()
  }


def _encoder(**changes):
  config = ViTConfig(
    width=8, depth=12, num_heads=2, patch_size=3, image_size=9, **changes
  )
  return _random(VisionTransformer(config), jnp.zeros((1, 3, 3, 3)))


def _head(num_layers):
  head = ProjectionHead(
    num_prototypes=6, num_layers=num_layers, hidden_dim=5, bottleneck_dim=4
  )
  return _random(head, jnp.zeros((1, 8)))


@pytest.mark.parametrize(
  "arrays",
  [
    _encoder(),
    _encoder(num_registers=0, swiglu=True),
    _head(3),
    _head(2),
    _head(1),
  ],
  ids=["registers", "swiglu", "head", "two layers", "one layer"],
)
def test_there_and_back(arrays):
  back = from_dinov2(to_dinov2(arrays))
  assert back.keys() == arrays.keys()
  for path, value in arrays.items():
    np.testing.assert_array_equal(back[path], value)


def test_names_and_shapes_are_the_references():
  state = to_dinov2(_encoder())
  shapes = {name: value.shape for name, value in state.items()}
  assert shapes["cls_token"] == (1, 1, 8)
  assert shapes["pos_embed"] == (1, 10, 8)
  assert shapes["register_tokens"] == (1, 4, 8)
  assert shapes["mask_token"] == (1, 8)
  assert shapes["patch_embed.proj.weight"] == (8, 3, 3, 3)
  assert shapes["blocks.11.attn.qkv.weight"] == (24, 8)
  assert shapes["blocks.0.mlp.fc1.weight"] == (32, 8)
  assert shapes["blocks.0.ls2.gamma"] == (8,)


@pytest.mark.parametrize(
  "num_layers, names",
  [
    (1, {"mlp.weight", "mlp.bias"}),
    (
      3,
      {f"mlp.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")},
    ),
  ],
)
def test_names_of_heads_depend_on_their_layers(num_layers, names):
  assert to_dinov2(_head(num_layers)).keys() == names | {
    "last_layer.weight_g",
    "last_layer.weight_v",
  }


@pytest.mark.parametrize("name", ["mlp.1.weight", "head.weight", "cls_token_"])
def test_other_names_are_refused(name):
  with pytest.raises(ValueError, match="not a parameter of a DINOv2"):
    from_dinov2({name: np.zeros((2, 2))})


def test_other_paths_are_refused():
  with pytest.raises(KeyError, match="no parameter of an encoder or head"):
    to_dinov2({"decoder/kernel": np.zeros(2)})
