"""AdamW as DINOv2 sets it up: every per-parameter choice is a path rule.

Layerwise decay, patch-embed multiplier, weight-decay mask, last-layer freeze
and a gradient clip per module.
"""

from __future__ import annotations

import dataclasses
import re

import jax
import jax.numpy as jnp
import optax

from scan42_jax import paths
from scan42_jax.schedules import Hyperparameters
from scan42_jax.types import Array, Float, Params


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
  """Constants of the optimizer; what moves with the step is in schedules.

  Attributes:
    layerwise_decay: learning-rate factor from a block to the one below it.
    patch_embed_multiplier: further factor of the patch embedding.
    clip_norm: largest gradient norm of encoder and of each head.
    skip_norm: a step with a larger gradient norm, before clipping, is skipped
      as if it were not finite; 0 never skips for that.
    beta1: decay of the first moment.
    beta2: decay of the second moment.
    epsilon: added to the root of the second moment.
  """

  layerwise_decay: float = 1.0
  patch_embed_multiplier: float = 0.2
  clip_norm: float = 3.0
  skip_norm: float = 0.0
  beta1: float = 0.9
  beta2: float = 0.999
  epsilon: float = 1e-8


@dataclasses.dataclass(frozen=True)
class ParamGroup:
  """How one parameter is optimized."""

  lr_multiplier: float
  wd_multiplier: float
  is_last_layer: bool
  is_encoder: bool


_WEIGHT_DECAY_RULES = (
  (r"bias$|norm|gamma", 0.0),
  (r"", 1.0),
)
_BLOCK = re.compile(r"^encoder/block_(\d+)/")
_STEM = re.compile(
  r"^encoder/(position_embedding|patch_embed|mask_token|cls_token|registers)"
)


def param_groups(params: Params, settings: OptimizerSettings) -> Params:
  """Returns the ParamGroup of every parameter, as a tree like `params`."""
  names = paths.flatten(params)
  depth = 1 + max(
    (int(match[1]) for match in map(_BLOCK.match, names) if match), default=-1
  )
  return paths.map_with_path(
    lambda path, _: ParamGroup(
      lr_multiplier=_lr_multiplier(path, depth, settings),
      wd_multiplier=paths.first_match(_WEIGHT_DECAY_RULES, path),
      is_last_layer="/prototypes/" in path,
      is_encoder=path.startswith("encoder/"),
    ),
    params,
  )


def _lr_multiplier(path: str, depth: int, settings: OptimizerSettings) -> float:
  """layerwise_decay ** (layers above), times the patch-embed factor."""
  if not path.startswith("encoder/"):
    return 1.0
  block = _BLOCK.match(path)
  above_stem = int(block[1]) + 1 if block else depth + 1
  layer = 0 if _STEM.match(path) else above_stem
  multiplier = settings.layerwise_decay ** (depth + 1 - layer)
  if path.startswith("encoder/patch_embed/"):
    multiplier *= settings.patch_embed_multiplier
  return multiplier


def _learning_rate(
  group: ParamGroup, hyper: Hyperparameters
) -> Float[Array, ""]:
  if group.is_encoder:
    return hyper.encoder_learning_rate
  if group.is_last_layer:
    return hyper.last_layer_learning_rate
  return hyper.learning_rate


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """AdamW with path rules; an init/update pair like optax's."""

  settings: OptimizerSettings

  def init(self, params: Params) -> optax.OptState:
    """Returns zero moments."""
    return self._adam().init(params)

  def update(
    self,
    grads: Params,
    opt_state: optax.OptState,
    params: Params,
    *,
    hyper: Hyperparameters,
  ) -> tuple[Params, optax.OptState]:
    """Moves the parameters one step.

    p <- p (1 - lr wd) - lr m / (sqrt(v) + eps); a frozen parameter keeps its
    value while its moments go on.

    Returns:
      New parameters and new moments.
    """
    direction, opt_state = self._adam().update(grads, opt_state)

    def move(
      p: Float[Array, "..."], d: Float[Array, "..."], group: ParamGroup
    ) -> Float[Array, "..."]:
      rate = _learning_rate(group, hyper) * group.lr_multiplier
      decay = hyper.weight_decay * group.wd_multiplier
      return (p * (1 - rate * decay) - rate * d).astype(p.dtype)

    groups = param_groups(params, self.settings)
    return jax.tree.map(move, params, direction, groups), opt_state

  def clip(self, grads: Params) -> tuple[Params, dict[str, Array]]:
    """Limits the gradient norm of each top-level module.

    Returns:
      Clipped gradients and each module's norm before clipping.
    """
    norms = {name: optax.tree.norm(module) for name, module in grads.items()}
    clipped = {
      name: jax.tree.map(
        lambda g, norm=norms[name]: (
          g * jnp.minimum(1, self.settings.clip_norm / (norm + 1e-6))
        ),
        module,
      )
      for name, module in grads.items()
    }
    return clipped, norms

  def _adam(self) -> optax.GradientTransformation:
    s = self.settings
    return optax.scale_by_adam(b1=s.beta1, b2=s.beta2, eps=s.epsilon)
