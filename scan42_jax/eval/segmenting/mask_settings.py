"""Every setting of the segmentation evaluation, its default and its range.

The defaults are right by design; what brings the published evaluation's faults
back is `repeat_published_segmentation` in mask_config.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from scan42_jax.data.joint_views import JointViewSettings
from scan42_jax.datasets.reading import MASK_NAMES
from scan42_jax.models.segmentation import HeadSettings
from scan42_jax.settings import build


@dataclasses.dataclass(frozen=True)
class MaskDataSettings:
  """Which films and masks, and how the encoder sees them.

  Attributes:
    dataset: name below the data folder.
    structures: masks to learn; films that lack one of them are left out and
      counted. Where masks overlap, the later one counts.
    train_split: films to learn from.
    validation_split: films that every choice comes from.
    test_split: films that are looked at once.
    size_px: side of the encoder's input, brought to the nearest multiple of its
      patch; 0 takes the encoder's own.
    view: 'whole' brings the whole film to a square; 'centre_crop' brings its
      shorter side to `size_px` and cuts the middle out.
    num_threads: that read and decode.
  """

  dataset: str = "chexmask"
  structures: tuple[str, ...] = MASK_NAMES
  train_split: str = "train"
  validation_split: str = "validation"
  test_split: str = "test"
  size_px: int = 0
  view: Literal["whole", "centre_crop"] = "whole"
  num_threads: int = 2


@dataclasses.dataclass(frozen=True)
class MaskTrainingSettings:
  """How the head, and the encoder if it moves, are trained by AdamW.

  Attributes:
    train_encoder: the encoder learns too.
    head_learning_rate: peak; a half cosine to 0 follows.
    encoder_learning_rate: peak, of the last block.
    layerwise_decay: of the encoder's rate from a block to the one below.
    weight_decay: decoupled.
    warmup_steps: of both rates, from 0.
    steps: of the optimizer, at most.
    batch_size: films per step.
    clip_norm: largest gradient norm of encoder and of head.
    evaluate_every: steps between looks at validation.
    patience: looks without a better one before training stops.
  """

  train_encoder: bool = False
  head_learning_rate: float = 5e-3
  encoder_learning_rate: float = 1e-4
  layerwise_decay: float = 0.75
  weight_decay: float = 1e-4
  warmup_steps: int = 20
  steps: int = 2000
  batch_size: int = 32
  clip_norm: float = 1.0
  evaluate_every: int = 100
  patience: int = 8


@dataclasses.dataclass(frozen=True)
class MaskReportSettings:
  """What is measured on the test films and written of them.

  Attributes:
    draws: resamples of the bootstrap.
    resample: whether patients or images are drawn.
    score_at: 'mask' scores each mask at its original size; 'view' at the
      encoder's input, beyond whose edges nothing counts.
    random_encoder: train the same head on an encoder that has learnt nothing.
    write_masks: write the test films' masks.
  """

  draws: int = 500
  resample: Literal["patient", "image"] = "patient"
  score_at: Literal["mask", "view"] = "mask"
  random_encoder: bool = True
  write_masks: bool = True


@dataclasses.dataclass(frozen=True)
class SegmentationSettings:
  """A whole evaluation.

  Attributes:
    seed: of heads, data order, views, the random encoder and resamples.
    dtype: of the encoder's activations.
    head: on the encoder.
    views: how training films are varied.
  """

  seed: int = 0
  dtype: Literal["float32", "bfloat16"] = "float32"
  data: MaskDataSettings = dataclasses.field(default_factory=MaskDataSettings)
  head: HeadSettings = dataclasses.field(default_factory=HeadSettings)
  train: MaskTrainingSettings = dataclasses.field(
    default_factory=MaskTrainingSettings
  )
  views: JointViewSettings = dataclasses.field(
    default_factory=JointViewSettings
  )
  report: MaskReportSettings = dataclasses.field(
    default_factory=MaskReportSettings
  )


def build_segmentation(config) -> SegmentationSettings:
  """Builds and checks the settings from nested mappings.

  Raises:
    ValueError: one line that names the field and the fix.
  """
  where = "config.segmentation"
  settings = build(SegmentationSettings, config, where)
  for failed, message in _problems(settings):
    if failed:
      raise ValueError(f"{where}.{message}")
  return settings


def _problems(s: SegmentationSettings) -> Iterator[tuple[bool, str]]:
  data, views = s.data, s.views
  splits = (data.train_split, data.validation_split, data.test_split)
  yield (
    len(set(splits)) < 3,
    f"data names one split twice: {splits}; learning, choosing and testing need"
    " films of their own",
  )
  unknown = [n for n in data.structures if n not in MASK_NAMES]
  yield (
    bool(unknown) or not data.structures,
    f"data.structures={data.structures} must be some of {MASK_NAMES}",
  )
  yield (
    len(set(data.structures)) < len(data.structures),
    f"data.structures={data.structures} names one of them twice",
  )
  yield data.size_px < 0, f"data.size_px={data.size_px} is negative"
  yield (
    views.flip_probability > 0
    and len({"left_lung", "right_lung"} & set(data.structures)) == 1,
    "views.flip_probability must be 0 where only one lung is learnt: a mirror"
    " makes it the other one",
  )
  for name in ("flip_probability", "affine_probability", "jitter_probability"):
    value = getattr(views, name)
    yield not 0 <= value <= 1, f"views.{name}={value} must be in 0..1"
  for name in ("translate", "zoom"):
    ends = getattr(views, name)
    yield (
      len(ends) != 2 or ends[0] > ends[1],
      f"views.{name}={ends} must be (smallest, largest)",
    )
  yield min(views.zoom) <= 0, f"views.zoom={views.zoom} must be positive"
  yield s.report.draws < 100, "report.draws must be at least 100"
  for group in ("train", "head"):
    for field in dataclasses.fields(getattr(s, group)):
      value = getattr(getattr(s, group), field.name)
      counts = type(value) is int and field.name != "warmup_steps"
      yield (
        counts and value < 1,
        f"{group}.{field.name}={value} is not positive",
      )


def mirrored_classes(structures: tuple[str, ...]) -> tuple[int, ...]:
  """Returns the class that each class becomes in a mirror; 0 is background."""
  other = {"left_lung": "right_lung", "right_lung": "left_lung"}
  return (
    0,
    *(1 + structures.index(other.get(name, name)) for name in structures),
  )
