"""Every setting of report generation, its default and its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from scan42_jax.eval.reports.decoding import DecodingSettings
from scan42_jax.settings import MeshSettings


@dataclasses.dataclass(frozen=True)
class TextSettings:
  """Which films, and which texts of theirs.

  Attributes:
    dataset: name below the data folder.
    train_split: films to learn from.
    validation_split: films that the best step comes from.
    test_split: films that are looked at once.
    unit: 'study' keeps one film of every study in validation and test, so that
      no report counts twice; training takes all films either way.
    section: what is written.
    indication: show the decoder why the film was taken.
    prior_studies: 'remove' leaves out sentences that compare with an earlier
      study, which no single film can show; they are counted either way.
    cleaning: of both texts before captioning metrics, see metrics/words.py.
    max_report_tokens: longer reports are cut in training, and counted.
    max_indication_tokens: longer indications are cut.
    max_films: of each split, for a quick look; 0 takes all.
  """

  dataset: str = "mimic_cxr"
  train_split: str = "train"
  validation_split: str = "validation"
  test_split: str = "test"
  unit: Literal["study", "image"] = "study"
  section: Literal["findings", "impression", "report"] = "findings"
  indication: bool = False
  prior_studies: Literal["keep", "remove"] = "keep"
  cleaning: Literal["clean", "r2gen", "raw"] = "clean"
  max_report_tokens: int = 160
  max_indication_tokens: int = 40
  max_films: int = 0


@dataclasses.dataclass(frozen=True)
class SmallDecoderSettings:
  """The embedded decoder; see ReportDecoderConfig.

  Attributes:
    vocab_size: tokens of the tokenizer that is made of the training reports.
  """

  vocab_size: int = 4096
  width: int = 512
  depth: int = 6
  num_heads: int = 8
  mlp_ratio: float = 4.0
  dropout: float = 0.1


@dataclasses.dataclass(frozen=True)
class LanguageModelSettings:
  """A language model that reads patches through a projector, as LLaVA does.

  Attributes:
    projector_layers: dense layers between encoder and language model.
    pool: side of the square of patches that become one token.
    lora_rank: of the low-rank updates; 0 for none.
    lora_alpha: their gain is lora_alpha / lora_rank.
    template: conversation that the language model was tuned on.
    request: what the user asks for.
  """

  projector_layers: Literal[2, 4] = 2
  pool: Literal[1, 2] = 1
  lora_rank: int = 0
  lora_alpha: float = 16.0
  template: Literal["vicuna", "llama3", "qwen2", "tinyllama", "plain"] = (
    "vicuna"
  )
  request: str = "Describe the findings of this chest X-ray."


@dataclasses.dataclass(frozen=True)
class StageSettings:
  """A part of the training with a schedule of its own.

  Attributes:
    train: which parameters move; 'sentences' leaves the decoder alone and
      teaches the encoder which frequent sentences an impression holds.
    steps: of the optimizer; 0 skips the stage.
    learning_rate: peak; half a cosine to 0 after the warm-up.
    encoder_learning_rate: the same of the encoder; 0 leaves it as it is.
  """

  train: Literal["all", "projector", "projector_and_lora", "sentences"] = "all"
  steps: int = 0
  learning_rate: float = 1e-4
  encoder_learning_rate: float = 0.0


@dataclasses.dataclass(frozen=True)
class MovesSettings:
  """How films that an encoder learns from are moved; never mirrored.

  Attributes:
    degrees: largest turn either way.
    shift: largest shift as a share of the side.
    zoom: largest relative change of size.
  """

  degrees: float = 0.0
  shift: float = 0.0
  zoom: float = 0.0


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
  """How a decoder learns.

  Attributes:
    first: first stage.
    second: second stage, with a fresh optimizer.
    moves: of films, in stages that train the encoder.
    optimizer: 'muon' makes the updates of matrices orthogonal; everything else
      is moved by AdamW either way.
    sentence_weight: of telling from the film which frequent sentences the
      impression of its report holds, in stages that train the encoder; 0 for
      not at all. Impressions say what a film shows in few, like words.
    sentences: how many of them, the most frequent of training.
    batch_size: films per step.
    warmup_share: share of a stage's steps with a rising learning rate.
    weight_decay: of matrices.
    clip_norm: largest norm of a gradient.
    log_every: steps between two lines.
    evaluate_every: steps between two looks at validation, and checkpoints.
    samples: validation films whose texts TensorBoard shows at each look.
  """

  first: StageSettings = StageSettings(steps=30_000, learning_rate=3e-4)
  second: StageSettings = StageSettings()
  moves: MovesSettings = MovesSettings()
  optimizer: Literal["adamw", "muon"] = "adamw"
  sentence_weight: float = 0.0
  sentences: int = 256
  batch_size: int = 64
  warmup_share: float = 0.03
  weight_decay: float = 0.01
  clip_norm: float = 1.0
  log_every: int = 50
  evaluate_every: int = 1000
  samples: int = 4

  @property
  def stages(self) -> tuple[StageSettings, ...]:
    """The stages that have steps."""
    return tuple(s for s in (self.first, self.second) if s.steps)

  @property
  def trains_encoder(self) -> bool:
    """Whether some stage moves the encoder."""
    return any(stage.encoder_learning_rate for stage in self.stages)


@dataclasses.dataclass(frozen=True)
class ScoreSettings:
  """How texts are judged and shown.

  Attributes:
    draws: resamples of patients.
    cases: studies on the page of cases.
  """

  draws: int = 500
  cases: int = 12


@dataclasses.dataclass(frozen=True)
class ReportSettings:
  """A whole evaluation.

  Attributes:
    seed: of everything random.
    decoder: the embedded one, or a language model from a folder.
    dtype: of activations; parameters that train are float32.
    film_px: side of the square that the whole film is shown as; 0 leaves it to
      the encoder.
    cache_gib: what is shown of the films is made once and kept on disk if it
      takes no more than this; else anew in every step.
  """

  seed: int = 0
  decoder: Literal["small", "language_model"] = "small"
  dtype: Literal["float32", "bfloat16"] = "float32"
  film_px: int = 0
  cache_gib: float = 50.0
  text: TextSettings = TextSettings()
  small: SmallDecoderSettings = SmallDecoderSettings()
  language_model: LanguageModelSettings = LanguageModelSettings()
  training: TrainingSettings = TrainingSettings()
  decoding: DecodingSettings = dataclasses.field(
    default_factory=DecodingSettings
  )
  score: ScoreSettings = ScoreSettings()
  mesh: MeshSettings = dataclasses.field(default_factory=MeshSettings)


def check(settings: ReportSettings) -> None:
  """Raises ValueError with one line for the first setting that cannot be."""
  for failed, message in _problems(settings):
    if failed:
      raise ValueError(message)


def _problems(s: ReportSettings) -> Iterator[tuple[bool, str]]:
  yield (
    not s.training.stages,
    "config.training has no steps: set config.training.first.steps",
  )
  for name in ("batch_size", "log_every", "evaluate_every"):
    value = getattr(s.training, name)
    yield value < 1, f"config.training.{name}={value} is not positive"
  yield (
    s.small.width % s.small.num_heads != 0,
    f"config.small.width={s.small.width} does not divide into"
    f" config.small.num_heads={s.small.num_heads}",
  )
  yield (
    s.training.sentence_weight > 0 and not s.training.trains_encoder,
    "config.training.sentence_weight teaches an encoder that learns: set"
    " encoder_learning_rate of a stage",
  )
  for stage in s.training.stages:
    small = s.decoder == "small"
    yield (
      stage.train == "sentences"
      and not (stage.encoder_learning_rate and s.training.sentence_weight),
      "config.training: train='sentences' needs encoder_learning_rate of its"
      " stage and config.training.sentence_weight",
    )
    yield (
      small and stage.train.startswith("projector"),
      f"config.training: train={stage.train!r} belongs to"
      " config.decoder='language_model'; the small decoder trains 'all'",
    )
    yield (
      stage.train == "projector_and_lora" and s.language_model.lora_rank < 1,
      "config.training trains LoRA: set config.language_model.lora_rank",
    )
  yield (
    s.text.max_report_tokens < 2,
    f"config.text.max_report_tokens={s.text.max_report_tokens} is too short",
  )
