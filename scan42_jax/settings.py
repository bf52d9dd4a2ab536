"""Every setting of a run, its default and its range: one place.

Settings count steps and images, and hold no absolute paths. The defaults are
the published recipe with its bugs mended; see config.py for what brings them
back.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from typing import Any, Literal

import jax.numpy as jnp

from scan42_jax.data.crops import CropSettings
from scan42_jax.data.masking import MaskSettings, mask_slots
from scan42_jax.mappings import build
from scan42_jax.models.heads import ProjectionHead
from scan42_jax.models.ssl import SelfDistillationNet
from scan42_jax.models.vit import VIT_SHAPES, VisionTransformer, ViTConfig
from scan42_jax.objective import ObjectiveSettings
from scan42_jax.optim import OptimizerSettings
from scan42_jax.schedules import CosineSchedule, Schedules


@dataclasses.dataclass(frozen=True)
class HeadSettings:
  """A projection head; see ProjectionHead."""

  num_prototypes: int = 131072
  num_layers: int = 3
  hidden_dim: int = 2048
  bottleneck_dim: int = 384


@dataclasses.dataclass(frozen=True)
class ScheduleSettings:
  """What changes with the step.

  Attributes:
    total_steps: length of the run.
    learning_rate: peak, at a batch of 1024 if it is scaled.
    learning_rate_scaling: 'sqrt' multiplies the peak by sqrt(batch / 1024), as
      DINOv2 does; 'none' is what the published run did in effect.
    final_learning_rate: last value.
    warmup_steps: of the learning rate, from 0.
    weight_decay: first value.
    final_weight_decay: last value.
    teacher_momentum: first value.
    final_teacher_momentum: last value.
    initial_teacher_temperature: first value.
    teacher_temperature: value after its warm-up.
    teacher_temperature_warmup_steps: length of that warm-up.
    freeze_last_layer_steps: steps in which prototypes do not move.
    freeze_encoder_steps: head warm-up: first steps in which only the heads
      move, for starting weights that come without them.
  """

  total_steps: int = 61_100
  learning_rate: float = 3e-4
  learning_rate_scaling: Literal["sqrt", "none"] = "sqrt"
  final_learning_rate: float = 1e-6
  warmup_steps: int = 6_110
  weight_decay: float = 0.0
  final_weight_decay: float = 0.0
  teacher_momentum: float = 0.999
  final_teacher_momentum: float = 0.999
  initial_teacher_temperature: float = 0.04
  teacher_temperature: float = 0.07
  teacher_temperature_warmup_steps: int = 18_330
  freeze_last_layer_steps: int = 611
  freeze_encoder_steps: int = 0


@dataclasses.dataclass(frozen=True)
class DataSettings:
  """Which films, and how the host hands them over.

  Attributes:
    datasets: names below the data folder.
    weights: whole numbers, one for each of `datasets`: how many films of each
      stand in every block of the stream; () mixes in proportion to size.
    split: of the training films.
    exclusions: names of lists of films to leave out, written by
      `scan42_jax.data.leakage` below the data folder.
    monitor_dataset: held-out films for the monitors; '' takes the first of
      `datasets`.
    monitor_split: split of those.
    canvas_px: side of the square canvas; larger films are shrunk to fit.
    equalize: equalise each film's histogram on reading, before any crop.
    num_threads: that read and decode.
    max_broken_films: films that a process may fail to read in one call; others
      stand in for them, and one more ends the run.
  """

  datasets: tuple[str, ...] = ("phantom",)
  weights: tuple[int, ...] = ()
  split: str = "train"
  exclusions: tuple[str, ...] = ()
  monitor_dataset: str = ""
  monitor_split: str = "validation"
  canvas_px: int = 1280
  equalize: bool = True
  num_threads: int = 4
  max_broken_films: int = 100


@dataclasses.dataclass(frozen=True)
class MeshSettings:
  """Sizes of the mesh axes; -1 takes the devices that are left.

  Attributes:
    data: parts of the batch, each with all parameters.
    fsdp: parts of the batch that split the parameters among them.
    tensor: parts of the wide axis of layers and of the prototypes.
  """

  data: int = -1
  fsdp: int = 1
  tensor: int = 1


@dataclasses.dataclass(frozen=True)
class LoopSettings:
  """When the loop does what, counted in steps.

  Attributes:
    log_every: metrics.
    checkpoint_every: checkpoints; the last step always has one.
    keep_checkpoints: newest ones kept.
    monitor_every: k-NN and collapse monitors on held-out films; 0 for never.
    monitor_films: films that the monitors look at, at most.
    report_films: films whose crops and patches are drawn into report.html; 0
      keeps pictures of films out of the work folder.
    linear_probe: after the last step, compare a linear probe on the encoder
      with one on the encoder it started from.
    max_skipped_in_a_row: steps with NaN or Inf before the run gives up.
    hang_s: seconds without a finished step, compilation, monitors and saving
      included, after which a process writes its stacks and ends.
  """

  log_every: int = 10
  checkpoint_every: int = 1000
  keep_checkpoints: int = 3
  monitor_every: int = 2500
  monitor_films: int = 2000
  report_films: int = 0
  linear_probe: bool = False
  max_skipped_in_a_row: int = 10
  hang_s: int = 3600


@dataclasses.dataclass(frozen=True)
class DriftSettings:
  """How far features may move from those of the starting weights.

  Judged with the monitors, in runs with `init_from`.

  Attributes:
    min_cka: least similarity to the starting features, 0..1; see
      `metrics.representation.linear_cka`.
    max_knn_loss: most that k-NN AUROC may lie below that of the start.
    action: what happens beyond either: a warning, or the end of the run.
  """

  min_cka: float = 0.2
  max_knn_loss: float = 0.03
  action: Literal["warn", "stop"] = "warn"


@dataclasses.dataclass(frozen=True)
class Settings:
  """A whole run.

  Attributes:
    seed: of parameters, data order, crops and masks.
    batch_size: films per optimizer step, over all devices.
    accumulation_steps: micro-batches per optimizer step.
    dtype: of activations; parameters, losses, teacher and centres are float32.
    init_from: weights to continue from: a Hugging Face folder, a DINOv2 `.pth`
      or a work folder of ours; '' starts afresh.
    separate_ibot_head: give iBOT a head of its own, else it shares DINO's.
  """

  seed: int = 0
  batch_size: int = 1024
  accumulation_steps: int = 1
  dtype: Literal["bfloat16", "float32"] = "bfloat16"
  init_from: str = ""
  separate_ibot_head: bool = True
  model: ViTConfig = ViTConfig(**VIT_SHAPES["B"])
  dino_head: HeadSettings = HeadSettings()
  ibot_head: HeadSettings = HeadSettings(bottleneck_dim=256)
  objective: ObjectiveSettings = ObjectiveSettings()
  optimizer: OptimizerSettings = OptimizerSettings()
  schedule: ScheduleSettings = ScheduleSettings()
  crops: CropSettings = CropSettings()
  masks: MaskSettings = MaskSettings()
  data: DataSettings = DataSettings()
  mesh: MeshSettings = MeshSettings()
  loop: LoopSettings = LoopSettings()
  drift: DriftSettings = DriftSettings()

  @property
  def grid(self) -> tuple[int, int]:
    """Patches per column and row of a global crop."""
    side = self.crops.global_size_px // self.model.patch_size
    return side, side

  def net(self) -> SelfDistillationNet:
    """Builds the network definition."""
    dtype = jnp.dtype(self.dtype)

    def head(settings: HeadSettings) -> ProjectionHead:
      return ProjectionHead(**dataclasses.asdict(settings), dtype=dtype)

    return SelfDistillationNet(
      encoder=VisionTransformer(self.model, dtype=dtype),
      dino_head=head(self.dino_head),
      ibot_head=head(self.ibot_head) if self.separate_ibot_head else None,
    )

  def schedules(self) -> Schedules:
    """Builds the schedules."""
    s = self.schedule
    scale = (
      math.sqrt(self.batch_size / 1024)
      if s.learning_rate_scaling == "sqrt"
      else 1.0
    )
    return Schedules(
      learning_rate=CosineSchedule(
        base=s.learning_rate * scale,
        final=s.final_learning_rate,
        total_steps=s.total_steps,
        warmup_steps=s.warmup_steps,
      ),
      weight_decay=CosineSchedule(
        base=s.weight_decay,
        final=s.final_weight_decay,
        total_steps=s.total_steps,
      ),
      teacher_momentum=CosineSchedule(
        base=s.teacher_momentum,
        final=s.final_teacher_momentum,
        total_steps=s.total_steps,
      ),
      teacher_temperature=CosineSchedule(
        start=s.initial_teacher_temperature,
        base=s.teacher_temperature,
        final=s.teacher_temperature,
        total_steps=s.teacher_temperature_warmup_steps,
        warmup_steps=s.teacher_temperature_warmup_steps,
      ),
      freeze_last_layer_steps=s.freeze_last_layer_steps,
      freeze_encoder_steps=s.freeze_encoder_steps,
    )


def adopt_encoder(settings: Settings, encoder: ViTConfig) -> Settings:
  """Takes the encoder's shape from the weights that training starts from.

  Width, depth, heads, patch size, feed-forward and registers are the file's
  (registers are the config's where the file has none); the rest stays.
  """
  shape = ("width", "depth", "num_heads", "patch_size", "mlp_ratio", "swiglu")
  changes = {name: getattr(encoder, name) for name in shape}
  if encoder.num_registers:
    changes["num_registers"] = encoder.num_registers
  model = dataclasses.replace(settings.model, **changes)
  settings = dataclasses.replace(settings, model=model)
  check(settings)
  return settings


def to_json(settings: Settings) -> dict[str, Any]:
  """Returns plain JSON values, tuples as lists."""
  return json.loads(json.dumps(dataclasses.asdict(settings)))


def from_json(values: dict[str, Any]) -> Settings:
  """Reads `to_json` back."""
  return build(Settings, values, "config")


def check(settings: Settings) -> None:
  """Raises ValueError with one line for the first setting that cannot be."""
  for failed, message in _problems(settings):
    if failed:
      raise ValueError(message)


def _problems(s: Settings) -> typing.Iterator[tuple[bool, str]]:
  micro_batch = s.batch_size // max(s.accumulation_steps, 1)
  patch = s.model.patch_size
  for name in ("width", "depth", "num_heads", "patch_size"):
    value = getattr(s.model, name)
    yield value < 1, f"config.model.{name}={value} is not positive"
  yield s.batch_size < 1, f"config.batch_size={s.batch_size} is not positive"
  yield (
    s.accumulation_steps < 1 or s.batch_size % s.accumulation_steps != 0,
    f"config.batch_size={s.batch_size} does not divide into"
    f" config.accumulation_steps={s.accumulation_steps}",
  )
  for name, group in [
    ("masks.group_images", s.masks.group_images),
    ("objective.koleo_group", s.objective.koleo_group),
  ]:
    yield (
      group < 1 or micro_batch % group != 0,
      f"config.{name}={group} does not divide the micro-batch of"
      f" {micro_batch} films (batch_size / accumulation_steps)",
    )
  yield (
    s.objective.koleo_weight > 0 and s.objective.koleo_group < 2,
    "config.objective.koleo_group must be at least 2: a film has no neighbour"
    " in a group of one",
  )
  for name in ("global_size_px", "local_size_px"):
    size = getattr(s.crops, name)
    yield (
      size < patch or size % patch != 0,
      f"config.crops.{name}={size} is not a multiple of the patch size {patch}",
    )
  yield (
    s.model.width % s.model.num_heads != 0,
    f"config.model.width={s.model.width} does not divide into"
    f" config.model.num_heads={s.model.num_heads}",
  )
  yield (
    mask_slots(s.masks, math.prod(s.grid)) < 1,
    "config.masks leaves no patch to mask: raise probability, ratio or"
    " group_images",
  )
  yield (
    s.objective.ibot_center == "groups" and s.accumulation_steps > 1,
    "config.accumulation_steps must be 1 with"
    " config.objective.ibot_center='groups': the published accumulation is not"
    " repeated",
  )
  yield (
    not s.data.datasets,
    "config.data.datasets is empty: name at least one prepared dataset",
  )
  weights = s.data.weights
  yield (
    bool(weights)
    and (
      len(weights) != len(s.data.datasets)
      or not all(isinstance(w, int) and w > 0 for w in weights)
    ),
    f"config.data.weights={weights} must be a whole number above 0 for each of"
    f" config.data.datasets={s.data.datasets}, or ()",
  )
  yield (
    s.schedule.total_steps < 1,
    f"config.schedule.total_steps={s.schedule.total_steps} is not positive",
  )
  yield (
    s.schedule.freeze_encoder_steps >= s.schedule.total_steps > 0,
    f"config.schedule.freeze_encoder_steps={s.schedule.freeze_encoder_steps}"
    f" leaves none of {s.schedule.total_steps} steps to the encoder",
  )
  yield (
    s.drift.action == "stop" and not (s.init_from and s.loop.monitor_every),
    "config.drift.action='stop' needs config.init_from, for something to drift"
    " from, and config.loop.monitor_every, for somebody to look",
  )
  yield (
    not 0 <= s.loop.report_films <= 16,
    f"config.loop.report_films={s.loop.report_films} is not in 0..16",
  )
  for name in ("log_every", "checkpoint_every", "keep_checkpoints", "hang_s"):
    value = getattr(s.loop, name)
    yield value < 1, f"config.loop.{name}={value} is not positive"
