"""ConfigDicts of the classification, and the preset that keeps its faults."""

from __future__ import annotations

import dataclasses

import ml_collections

from scan42_jax.eval.settings import EvalSettings


def default_config() -> ml_collections.ConfigDict:
  """Returns the defaults as a locked ConfigDict."""
  return ml_collections.ConfigDict(dataclasses.asdict(EvalSettings())).lock()


def apply_preset(
  config: ml_collections.ConfigDict,
  preset: str,
  *,
  training_films: int,
  drop_registers: bool = False,
) -> ml_collections.ConfigDict:
  """Returns the config as it is for 'default', with the faults for 'reference'.

  Args:
    config: of the evaluation.
    preset: 'default' or 'reference'.
    training_films: of the release, which the published epochs are counted by.
    drop_registers: see `repeat_published_evaluation`.

  Raises:
    ValueError: another preset.
  """
  if preset == "reference":
    repeat_published_evaluation(
      config, training_films=training_films, drop_registers=drop_registers
    )
  elif preset != "default":
    raise ValueError(f"preset {preset!r} is not 'default' or 'reference'")
  return config


def repeat_published_evaluation(
  config: ml_collections.ConfigDict,
  *,
  training_films: int,
  drop_registers: bool,
) -> None:
  """Turns a config into the published fine-tuning, its faults included.

  - An inverted condition kept the gradient from the encoder: only the head
    learns.
  - The class token was stripped before the head took row 0: the head sees the
    top left patch of the last four blocks, and the mean of the other patches.
  - The CheXpert configs left the number of registers at 0, so they were
    dropped from the weights.
  - CheXpert's blank and uncertain labels became positive.
  - The intervals were drawn by image.

  AdamW without decay at a constant rate, 5 epochs as in its script, batches of
  64, the best epoch by validation. It encoded films in the encoder's own
  preprocessing, as every evaluation here does.

  Args:
    config: of the evaluation.
    training_films: of the release; 5 epochs are counted by them.
    drop_registers: encode without registers.
  """
  config.protocol = "finetune"
  config.data.policy = "reference"
  config.features.token = "first_patch"
  config.features.drop_registers = drop_registers
  config.report.resample = "image"
  epoch = max(training_films // 64, 1)
  config.finetune.update(
    {
      "train_encoder": False,
      "head_learning_rate": 5e-5,
      "encoder_learning_rate": 5e-7,
      "layerwise_decay": 1.0,
      "weight_decay": 0.0,
      "constant_rate": True,
      "steps": 5 * epoch,
      "batch_size": 64,
      "evaluate_every": epoch,
      "patience": 5,
    }
  )
