"""Every setting of the classification evaluation, its default and its range.

The defaults are right by design; what brings the published evaluation's faults
back is `repeat_published_evaluation` in eval/config.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from scan42_jax.data.crops import CropSettings
from scan42_jax.datasets.labels import POLICIES
from scan42_jax.settings import build

Protocol = Literal["linear", "logistic", "knn", "few_shot", "finetune"]


@dataclasses.dataclass(frozen=True)
class LabelledDataSettings:
  """Which films, and which labels of theirs.

  Attributes:
    dataset: name below the data folder.
    labels: names to learn and to test; () takes all.
    policy: of uncertain and not mentioned labels, see datasets/labels.py.
    exclusive: the labels are classes, of which each film has exactly one.
    train_split: films to learn from.
    validation_split: films that every choice comes from.
    test_split: films that are looked at once.
    canvas_px: side of the square canvas; larger films are shrunk to fit.
    num_threads: that read and decode.
  """

  dataset: str = "phantom"
  labels: tuple[str, ...] = ()
  policy: Literal[POLICIES] = "default"
  exclusive: bool = False
  train_split: str = "train"
  validation_split: str = "validation"
  test_split: str = "test"
  canvas_px: int = 1280
  num_threads: int = 2


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
  """What the heads see of an encoder.

  Attributes:
    layers: class tokens of so many last blocks, each after the final norm, are
      computed; fewer where the encoder has fewer blocks.
    token: 'first_patch' is the published fine-tuning's slip: the top left patch
      in place of the class token, and a mean over the other patches.
    drop_registers: encode without the encoder's registers, as the published
      CheXpert runs did.
    batch_size: films that a device encodes together.
  """

  layers: int = 4
  token: Literal["cls", "first_patch"] = "cls"
  drop_registers: bool = False
  batch_size: int = 16


@dataclasses.dataclass(frozen=True)
class LinearSettings:
  """Linear heads by stochastic gradients: all of them at once.

  Attributes:
    learning_rates: one head each; SGD with a half cosine to 0.
    layers: numbers of class tokens, one set of heads each.
    patch_means: without and with the mean patch token, likewise.
    steps: of the optimizer.
    batch_size: films per step.
    momentum: of SGD.
  """

  learning_rates: tuple[float, ...] = (
    *(1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3),
    *(2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1),
  )
  layers: tuple[int, ...] = (1, 4)
  patch_means: tuple[bool, ...] = (False, True)
  steps: int = 2500
  batch_size: int = 128
  momentum: float = 0.9


@dataclasses.dataclass(frozen=True)
class LogisticSettings:
  """Logistic regression on class token and mean patch, standardised.

  Attributes:
    l2: weights of half the squared coefficients against the mean loss; the
      best on validation is taken.
    max_iterations: of L-BFGS for each of them.
    tolerance: largest entry of the gradient at which it stops.
  """

  l2: tuple[float, ...] = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
  max_iterations: int = 1000
  tolerance: float = 1e-8


@dataclasses.dataclass(frozen=True)
class KnnSettings:
  """Votes of the nearest training films by class token.

  Attributes:
    neighbours: numbers of them; the best on validation is taken.
    temperature: of the votes.
  """

  neighbours: tuple[int, ...] = (10, 20, 50, 100, 200)
  temperature: float = 0.07


@dataclasses.dataclass(frozen=True)
class FewShotSettings:
  """Logistic regression on a handful of patients.

  Attributes:
    shots: patients of each class; for findings, with and without each.
    draws: of these patients; all are printed.
  """

  shots: tuple[int, ...] = (1, 4, 16)
  draws: int = 5


@dataclasses.dataclass(frozen=True)
class AugmentSettings:
  """How training films are varied; see CropSettings.

  Attributes:
    scale: share of the film that is cut out.
    flip_probability: mirroring; it moves the heart to the other side.
    affine_degrees: largest turn either way.
    affine_translate: largest shift as a share of the side.
    affine_zoom: smallest and largest zoom.
    jitter_probability: of brightness and contrast.
    brightness: largest relative change.
    contrast: largest relative change.
    blur_probability: of a Gaussian blur.
  """

  scale: tuple[float, float] = (0.08, 1.0)
  flip_probability: float = 0.5
  affine_degrees: float = 20.0
  affine_translate: float = 0.1
  affine_zoom: tuple[float, float] = (0.8, 1.2)
  jitter_probability: float = 0.5
  brightness: float = 0.4
  contrast: float = 0.4
  blur_probability: float = 0.5

  def crops(self, *, size_px: int, mean, std) -> CropSettings:
    """Returns the settings of one such view."""
    known = {
      f.name: getattr(self, f.name)
      for f in dataclasses.fields(self)
      if f.name not in ("scale", "blur_probability")
    }
    return CropSettings(
      global_size_px=size_px,
      num_local=0,
      global_scale=self.scale,
      blur_probability=(self.blur_probability, 0.0, 0.0),
      solarize_probability=0.0,
      mean=mean,
      std=std,
      **known,
    )


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
  """Encoder and head trained together by AdamW.

  Attributes:
    train_encoder: False is the published run's slip: its encoder got no
      gradient.
    head_learning_rate: peak.
    encoder_learning_rate: peak, of the last block.
    layerwise_decay: of the encoder's rate from a block to the one below.
    weight_decay: decoupled.
    constant_rate: no warm-up and no cosine.
    warmup_steps: of both rates, from 0.
    steps: of the optimizer, at most.
    batch_size: films per step.
    clip_norm: largest gradient norm of encoder and of head.
    evaluate_every: steps between looks at validation.
    patience: looks without a better one before training stops.
  """

  train_encoder: bool = True
  head_learning_rate: float = 1e-3
  encoder_learning_rate: float = 1e-4
  layerwise_decay: float = 0.75
  weight_decay: float = 0.05
  constant_rate: bool = False
  warmup_steps: int = 100
  steps: int = 4000
  batch_size: int = 64
  clip_norm: float = 1.0
  evaluate_every: int = 200
  patience: int = 5
  augment: AugmentSettings = AugmentSettings()


@dataclasses.dataclass(frozen=True)
class ReportSettings:
  """What is measured on the test films.

  Attributes:
    draws: resamples of the bootstrap.
    resample: whether patients or images are drawn.
    paper_labels: labels of the paper's row, a further mean; () for none.
    patient_maximum: also by patient: the highest score of the patient's films.
    specificity: at which sensitivity is given.
    age_bands: years at which subgroups by age part.
  """

  draws: int = 500
  resample: Literal["patient", "image"] = "patient"
  paper_labels: tuple[str, ...] = ()
  patient_maximum: bool = False
  specificity: float = 0.9
  age_bands: tuple[float, ...] = (40.0, 60.0, 75.0)


@dataclasses.dataclass(frozen=True)
class EvalSettings:
  """A whole evaluation.

  Attributes:
    seed: of heads, data order, few-shot draws and resamples.
    protocol: how the encoder is judged.
    metric: whose macro mean on validation decides.
    dtype: of the encoder's activations.
  """

  seed: int = 0
  protocol: Protocol = "linear"
  metric: Literal["auroc", "auprc"] = "auroc"
  dtype: Literal["float32", "bfloat16"] = "float32"
  data: LabelledDataSettings = LabelledDataSettings()
  features: FeatureSettings = FeatureSettings()
  linear: LinearSettings = LinearSettings()
  logistic: LogisticSettings = LogisticSettings()
  knn: KnnSettings = KnnSettings()
  few_shot: FewShotSettings = FewShotSettings()
  finetune: FinetuneSettings = FinetuneSettings()
  report: ReportSettings = ReportSettings()


def build_eval(config) -> EvalSettings:
  """Builds and checks the settings from nested mappings.

  Raises:
    ValueError: one line that names the field and the fix.
  """
  settings = build(EvalSettings, config, "config")
  for failed, message in _problems(settings):
    if failed:
      raise ValueError(message)
  return settings


def _problems(s: EvalSettings) -> Iterator[tuple[bool, str]]:
  splits = (s.data.train_split, s.data.validation_split, s.data.test_split)
  yield (
    len(set(splits)) < 3,
    f"config.data names one split twice: {splits}; learning, choosing and"
    " testing need films of their own",
  )
  yield (
    s.data.exclusive and len(s.data.labels) == 1,
    "config.data.exclusive needs at least two labels: they are the classes",
  )
  yield s.report.draws < 100, "config.report.draws must be at least 100"
  yield (
    not 0 < s.report.specificity < 1,
    f"config.report.specificity={s.report.specificity} must be between 0 and 1",
  )
  yield (
    set(s.report.paper_labels) - set(s.data.labels or s.report.paper_labels)
    != set(),
    "config.report.paper_labels has labels that config.data.labels lacks",
  )
  for name, values in [
    ("linear.learning_rates", s.linear.learning_rates),
    ("linear.layers", s.linear.layers),
    ("linear.patch_means", s.linear.patch_means),
    ("logistic.l2", s.logistic.l2),
    ("knn.neighbours", s.knn.neighbours),
    ("few_shot.shots", s.few_shot.shots),
  ]:
    yield not values, f"config.{name} is empty"
  yield (
    max(s.linear.layers, default=0) > s.features.layers,
    f"config.linear.layers={s.linear.layers} exceeds"
    f" config.features.layers={s.features.layers}",
  )
  yield (
    s.features.token == "first_patch" and s.protocol != "finetune",
    "config.features.token='first_patch' belongs to the published fine-tuning:"
    " set config.protocol='finetune'",
  )
  for name in ("steps", "batch_size"):
    for group in ("linear", "finetune"):
      value = getattr(getattr(s, group), name)
      yield value < 1, f"config.{group}.{name}={value} is not positive"
  for name in ("evaluate_every", "patience"):
    value = getattr(s.finetune, name)
    yield value < 1, f"config.finetune.{name}={value} is not positive"
