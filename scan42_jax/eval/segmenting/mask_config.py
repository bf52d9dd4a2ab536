"""ConfigDicts of the segmentation, and the preset that keeps its faults."""

from __future__ import annotations

import dataclasses

import ml_collections

from scan42_jax.eval.segmenting.mask_settings import SegmentationSettings


def default_segmentation() -> ml_collections.ConfigDict:
  """Returns the defaults as a locked ConfigDict."""
  fields = dataclasses.asdict(SegmentationSettings())
  return ml_collections.ConfigDict(fields).lock()


def apply_segmentation_preset(
  config: ml_collections.ConfigDict, preset: str, *, training_films: int
) -> ml_collections.ConfigDict:
  """Returns the config as it is for 'default', with the faults for 'reference'.

  Args:
    config: of the evaluation.
    preset: 'default' or 'reference'.
    training_films: of the release, which the published epochs are counted by.

  Raises:
    ValueError: another preset.
  """
  if preset == "reference":
    repeat_published_segmentation(config, training_films=training_films)
  elif preset != "default":
    raise ValueError(f"preset {preset!r} is not 'default' or 'reference'")
  return config


def repeat_published_segmentation(
  config: ml_collections.ConfigDict, *, training_films: int
) -> None:
  """Turns a config into the published evaluation, its faults included.

  - The films' middle squares are brought to 518 px and scored there: what lies
    beyond them counts for nothing.
  - A shift that was meant to be -10 to 10 % is always 10 % to the right and
    down.
  - No film is mirrored; the last epoch is reached, whatever validation says
    (the best epoch is kept, as here).
  - Intervals are drawn by image.

  Left out is its elastic distortion, which was so weak that it changed a grey
  level in a hundred pixels or so.
  """
  config.data.update({"size_px": 518, "view": "centre_crop"})
  config.views.update(
    {"flip_probability": 0.0, "translate": (0.1, 0.1), "degrees": 10.0}
  )
  config.head.kind = "linear"
  steps = 5 * training_films // 64
  config.train.update(
    {
      "train_encoder": False,
      "head_learning_rate": 5e-3,
      "weight_decay": 1e-4,
      "warmup_steps": 0,
      "batch_size": 64,
      "steps": steps,
      "evaluate_every": max(steps // 5, 1),
      "patience": 5,
    }
  )
  config.report.update({"score_at": "view", "resample": "image"})
