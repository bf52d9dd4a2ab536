"""How much arithmetic a run takes: counted, traced, and as the paper counts it.

Multiplications and additions count apart: one multiply-add is 2 FLOP. Useful
work leaves out what is computed twice to save memory.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
from jax.extend import core as jax_core

from scan42_jax.models.vit import ViTConfig
from scan42_jax.settings import HeadSettings, Settings

# Dense bfloat16 matrix products, FLOP per second of one chip; makers' figures.
_PEAKS = {
  "H100": 989e12,
  "H200": 989e12,
  "A100": 312e12,
  "TPU v5 lite": 197e12,
  "TPU v5p": 459e12,
  "TPU v6 lite": 918e12,
}


def encoder_flops(config: ViTConfig, size_px: int) -> float:
  """Forward FLOPs of one square image, matrix products alone.

  depth (24 T D^2 + 4 T^2 D) and the patch embedding, for four-fold hidden
  channels; Kaplan et al. 2020, table 1, for vision.
  """
  patches = (size_px // config.patch_size) ** 2
  tokens = 1 + config.num_registers + patches
  products = 8 * config.width**2 + _mlp_flops(config)
  attention = 4 * tokens * config.width
  pixels = 3 * config.patch_size**2
  block = tokens * (products + attention)
  return config.depth * block + 2 * patches * pixels * config.width


def head_flops(head: HeadSettings, width: int) -> float:
  """Forward FLOPs of a projection head for one token."""
  hidden = [head.hidden_dim] * (head.num_layers - 1)
  sizes = [width, *hidden, head.bottleneck_dim, head.num_prototypes]
  return 2 * sum(a * b for a, b in itertools.pairwise(sizes))


def step_flops(settings: Settings) -> float:
  """Useful FLOPs of a training step for one film.

  The teacher encodes the global crops once; the student's forward and backward
  passes cost three forwards of all crops; heads alike, on class tokens and on
  masked patches.
  """
  model, crops = settings.model, settings.crops
  large = encoder_flops(model, crops.global_size_px)
  small = encoder_flops(model, crops.local_size_px)
  encoder = 2 * large + 3 * (2 * large + crops.num_local * small)
  dino = head_flops(settings.dino_head, model.width)
  ibot = dino
  if settings.separate_ibot_head:
    ibot = head_flops(settings.ibot_head, model.width)
  cls_passes = 2 + 3 * (2 + crops.num_local)
  return encoder + cls_passes * dino + 4 * _masked_patches(settings) * ibot


def paper_flops(config: ViTConfig, size_px: int, num_images: float) -> float:
  """FLOPs as the paper counts them: best fit to its published figures.

  2 M N with M the multiply-adds of the linear layers of one forward pass and 5
  per element of each LayerNorm; attention scores, backward pass, teacher, heads
  and local crops are left out.
  """
  patches = (size_px // config.patch_size) ** 2
  tokens = 1 + config.num_registers + patches
  linear = config.depth * 12 * config.width**2 * tokens
  linear += patches * 3 * config.patch_size**2 * config.width
  norms = 5 * (2 * config.depth + 1) * tokens * config.width
  return 2 * (linear + norms) * num_images


def traced_flops(function: Any, *args: Any) -> float:
  """FLOPs of all matrix products that a function does, loops included.

  Args:
    function: traced with `args`, which may be shapes.
  """
  return _jaxpr_flops(jax.make_jaxpr(function)(*args).jaxpr)


def peak_flops(device_kind: str) -> float | None:
  """Dense bfloat16 FLOP per second of a chip, None where it is not known."""
  return next((f for k, f in _PEAKS.items() if k in device_kind), None)


def pace(settings: Settings, images_per_second: float) -> dict[str, float]:
  """Returns the useful arithmetic per second, and its share of the chips'.

  `model_tflop_per_second` of all devices together; `mfu` where the chip is
  known.
  """
  rate = step_flops(settings) * images_per_second
  values = {"model_tflop_per_second": rate / 1e12}
  peak = peak_flops(jax.devices()[0].device_kind)
  if peak is not None:
    values["mfu"] = rate / (peak * jax.device_count())
  return values


def _mlp_flops(config: ViTConfig) -> float:
  hidden = int(config.width * config.mlp_ratio)
  if config.swiglu:
    return 6 * config.width * ((int(hidden * 2 / 3) + 7) // 8 * 8)
  return 4 * config.width * hidden


def _masked_patches(settings: Settings) -> float:
  """Expected masked patches of a film's global crops."""
  low, high = settings.masks.ratio
  share = settings.masks.probability * (low + high) / 2
  return 2 * share * math.prod(settings.grid)


def _jaxpr_flops(jaxpr: jax_core.Jaxpr) -> float:
  total = 0.0
  for equation in jaxpr.eqns:
    if equation.primitive.name == "dot_general":
      total += _dot_flops(equation)
      continue
    times = equation.params.get("length", 1)
    inner = [_jaxpr_flops(j) for j in _inner_jaxprs(equation.params)]
    # Of a cond's branches one is taken; the dearest stands for it.
    is_choice = equation.primitive.name == "cond"
    total += times * (max(inner, default=0) if is_choice else sum(inner))
  return total


def _inner_jaxprs(params: dict[str, Any]) -> list[jax_core.Jaxpr]:
  found = []
  for value in jax.tree.leaves(list(params.values()), is_leaf=_is_jaxpr):
    if isinstance(value, jax_core.ClosedJaxpr):
      found.append(value.jaxpr)
    elif isinstance(value, jax_core.Jaxpr):
      found.append(value)
  return found


def _is_jaxpr(value: Any) -> bool:
  return isinstance(value, jax_core.ClosedJaxpr | jax_core.Jaxpr)


def _dot_flops(equation: Any) -> float:
  left, right = (v.aval.shape for v in equation.invars)
  (left_axes, _), (left_batch, right_batch) = equation.params[
    "dimension_numbers"
  ]
  summed = math.prod(left[axis] for axis in left_axes)
  batch = math.prod(right[axis] for axis in right_batch)
  del left_batch
  return 2 * math.prod(left) * math.prod(right) / (summed * batch)
