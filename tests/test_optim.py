"""Parameter groups against DINOv2's table."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax import paths
from scan42_jax.models.heads import ProjectionHead
from scan42_jax.models.ssl import SelfDistillationNet
from scan42_jax.models.vit import VisionTransformer, ViTConfig
from scan42_jax.optim import Optimizer, OptimizerSettings, param_groups
from scan42_jax.schedules import Hyperparameters
from scan42_jax.weights.dinov2 import from_dinov2

MODULES = {
  "backbone": "encoder",
  "dino_head": "dino_head",
  "ibot_head": "ibot_head",
}


def _translate(name):
  module, name = name.split(".", 1)
  placeholder = np.zeros((1, 1, 1, 1))
  return f"{MODULES[module]}/{next(iter(from_dinov2({name: placeholder})))}"


def _net(shapes, settings):
  """The network whose parameters the table lists."""
  width = shapes["backbone.cls_token"][-1]
  heads = []
  for head in ("dino_head", "ibot_head"):
    prototypes, bottleneck = shapes[f"{head}.last_layer.weight_v"]
    heads.append(
      ProjectionHead(num_prototypes=prototypes, bottleneck_dim=bottleneck)
    )
  positions = shapes["backbone.pos_embed"][1] - 1
  patch_size = shapes["backbone.patch_embed.proj.weight"][-1]
  config = ViTConfig(
    width=width,
    depth=settings["depth"],
    num_heads=width // 64,
    patch_size=patch_size,
    image_size=round(positions**0.5) * patch_size,
    num_registers=shapes["backbone.register_tokens"][1],
  )
  return SelfDistillationNet(VisionTransformer(config), *heads)


def test_golden_parameter_groups(golden_file):
  cases = json.loads(golden_file("param_groups.json").read_text())
  for case in cases.values():
    shapes = {n: p["shape"] for n, p in case["params"].items()}
    net = _net(shapes, case)
    params = jax.eval_shape(net.init, jax.random.key(0))
    groups = paths.flatten(
      param_groups(
        params,
        OptimizerSettings(
          layerwise_decay=case["layerwise_decay"],
          patch_embed_multiplier=case["patch_embed_lr_mult"],
        ),
      )
    )
    expected = {_translate(n): p for n, p in case["params"].items()}
    assert groups.keys() == expected.keys()
    for path, group in groups.items():
      row = expected[path]
      assert group.lr_multiplier == pytest.approx(
        row["lr_multiplier"], rel=1e-12
      )
      assert group.wd_multiplier == row["wd_multiplier"], path
      assert group.is_last_layer == bool(row["is_last_layer"]), path


def test_clip_limits_each_module_alone():
  optimizer = Optimizer(OptimizerSettings(clip_norm=1.0))
  grads = {"encoder": {"a": jnp.full(4, 10.0)}, "head": {"b": jnp.full(4, 0.1)}}
  clipped, norms = optimizer.clip(grads)
  assert jnp.linalg.norm(clipped["encoder"]["a"]) == pytest.approx(1.0)
  np.testing.assert_array_equal(clipped["head"]["b"], grads["head"]["b"])
  assert float(norms["encoder"]) == pytest.approx(20.0)


def test_frozen_prototypes_keep_their_values_while_their_moments_move():
  optimizer = Optimizer(OptimizerSettings())
  params = {"dino_head": {"prototypes": {"gain": jnp.ones(3)}}}
  grads = jax.tree.map(jnp.ones_like, params)
  hyper = Hyperparameters(
    learning_rate=jnp.asarray(0.1),
    encoder_learning_rate=jnp.asarray(0.1),
    last_layer_learning_rate=jnp.asarray(0.0),
    weight_decay=jnp.asarray(0.5),
    teacher_momentum=jnp.asarray(0.9),
    teacher_temperature=jnp.asarray(0.1),
  )
  state = optimizer.init(params)
  moved, new_state = optimizer.update(grads, state, params, hyper=hyper)
  jax.tree.map(np.testing.assert_array_equal, moved, params)
  assert new_state.mu["dino_head"]["prototypes"]["gain"].all()
