"""Array annotations and the containers that cross module borders.

Axis letters used in every annotation: B images; G, L global and local crops;
N any leading batch; H, W, C height, width, channels; h, w the same of a local
crop; S side of the square canvas; P patches; R registers; T tokens, T = 1 + R +
P; D width; K prototypes; Q mask groups; M mask slots of one group.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import flax.struct
import jax
import numpy as np

# Shapes are checked wherever jaxtyping is installed (the tests); elsewhere they
# are documentation, so that the core needs no package for its annotations.
if importlib.util.find_spec("jaxtyping"):
  from jaxtyping import Array, Bool, Float, Int, UInt8
else:
  Array = jax.Array

  class _Annotation:
    def __class_getitem__(cls, item):
      return Any

  Bool = Float = Int = UInt8 = _Annotation

__all__ = [
  "Array",
  "Batch",
  "Bool",
  "EncoderOutput",
  "Films",
  "Float",
  "Int",
  "Metrics",
  "Params",
  "UInt8",
]

Params = Any
"""Nested dict of float32 arrays; see paths.py for how its leaves are named."""

Metrics = dict[str, jax.Array]
"""Scalars of one step, by name."""


@flax.struct.dataclass
class Films:
  """Grey films as the host hands them over: read and decoded, nothing more.

  Attributes:
    pixels: canvas of 0..255, bones bright; the film fills its top left corner.
    height: rows of the canvas that the film fills, in pixels.
    width: columns of the canvas that the film fills, in pixels.
    index: place of the sample in the endless training stream; every random
      number of the sample is folded from it, so a run does not depend on the
      number of hosts.
  """

  pixels: UInt8[Array | np.ndarray, "B S S"]
  height: Int[Array | np.ndarray, "B"]
  width: Int[Array | np.ndarray, "B"]
  index: Int[Array | np.ndarray, "B"]


@flax.struct.dataclass
class Batch:
  """What one training step sees.

  The leading axis is the image (or a group of neighbouring images), so one
  PartitionSpec fits every leaf.

  Attributes:
    global_crops: normalised global crops.
    local_crops: normalised local crops.
    patch_mask: patches that the student sees as mask token.
    mask_index: masked patches of a group of B/Q images, as positions in its
      flattened (image, crop, patch) axis; unused slots hold 0.
    mask_weight: 1 / masked patches of the crop; 0 in unused slots.
  """

  global_crops: Float[Array, "B G H W C"]
  local_crops: Float[Array, "B L h w C"]
  patch_mask: Bool[Array, "B G P"]
  mask_index: Int[Array, "Q M"]
  mask_weight: Float[Array, "Q M"]


@flax.struct.dataclass
class EncoderOutput:
  """Tokens after the final norm."""

  cls: Float[Array, "N D"]
  registers: Float[Array, "N R D"]
  patches: Float[Array, "N P D"]
