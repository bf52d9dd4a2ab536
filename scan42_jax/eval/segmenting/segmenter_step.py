"""The step that trains a segmentation head: state and films in, both out.

Pure functions; reading, judging and saving are segmenter_training.py's.
"""

from __future__ import annotations

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import optax

from scan42_jax.data import image_ops
from scan42_jax.data.joint_views import joint_views
from scan42_jax.eval.adapting import adapting_optimizer, adapting_rates
from scan42_jax.eval.segmenting.mask_settings import (
  MaskTrainingSettings,
  SegmentationSettings,
  mirrored_classes,
)
from scan42_jax.eval.segmenting.masked_films import MaskedBatch
from scan42_jax.losses.dice import ce_dice_loss
from scan42_jax.models.segmentation import SegmentationNet, enlarge
from scan42_jax.models.vit import VisionTransformer, ViTConfig
from scan42_jax.optim import Optimizer
from scan42_jax.schedules import Hyperparameters
from scan42_jax.types import Array, Float, Int, Params, UInt8
from scan42_jax.weights.preprocessing import Preprocessing


@flax.struct.dataclass
class SegmenterState:
  """Everything that a checkpoint must hold.

  Attributes:
    step: batches seen, hence the position in the data.
    params: {head}, and {encoder} where it learns.
    opt_state: AdamW moments.
    best: highest Dice on validation so far, -1 before the first look.
    looks_since: looks at validation since then.
  """

  step: Int[Array, ""]
  params: Params
  opt_state: optax.OptState
  best: Float[Array, ""]
  looks_since: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class SegmenterStep:
  """What one step does; a bundle of pure functions.

  Attributes:
    config: shape of the encoder.
    dtype: of its activations.
    preprocessing: size and statistics of its input.
    settings: of the evaluation.
  """

  config: ViTConfig
  dtype: jnp.dtype
  preprocessing: Preprocessing
  settings: SegmentationSettings

  @property
  def net(self) -> SegmentationNet:
    """Encoder and head."""
    return SegmentationNet(
      VisionTransformer(self.config, self.dtype),
      self.settings.head,
      num_classes=1 + len(self.settings.data.structures),
    )

  def start(self, encoder: Params) -> SegmenterState:
    """Makes the state of step 0."""
    params = {"head": self.net.init_head(jax.random.key(self.settings.seed))}
    if self.settings.train.train_encoder:
      # Steps consume their input, and the encoder is still needed.
      params["encoder"] = jax.tree.map(jnp.copy, encoder)
    return SegmenterState(
      step=jnp.int32(0),
      params=params,
      opt_state=self._optimizer.init(params),
      best=jnp.float32(-1),
      looks_since=jnp.int32(0),
    )

  def logits(
    self, encoder: Params, params: Params, pixels: Float[Array, "B s s"]
  ) -> Float[Array, "B h w K"]:
    """Scores films, grey levels 0..255, on the head's grid.

    Args:
      encoder: of the start; not looked at where the encoder learns.
      params: of the state.
      pixels: as the encoder sees them.
    """
    how = self.preprocessing
    images = image_ops.normalize(pixels, how.mean, how.std)
    return self.net.logits(
      params.get("encoder", encoder), params["head"], images
    )

  def counts(
    self, encoder: Params, params: Params, batch: MaskedBatch
  ) -> Int[Array, "B K 3"]:
    """Counts, for each film and class, pixels in both, predicted, true.

    Rows that only fill the batch count nothing.
    """
    pixels = batch.pixels.astype(jnp.float32)
    logits = self.logits(encoder, params, pixels)
    found = enlarge(logits, batch.labels.shape[1:]).argmax(axis=-1)
    numbers = jnp.arange(logits.shape[-1])[:, None, None]
    predicted = found[:, None] == numbers
    true = batch.labels[:, None] == numbers
    counts = [
      jnp.sum(x, axis=(2, 3), dtype=jnp.int32)
      for x in (predicted & true, predicted, true)
    ]
    real = (batch.index >= 0)[:, None, None]
    return jnp.where(real, jnp.stack(counts, axis=-1), 0)

  def __call__(
    self, state: SegmenterState, encoder: Params, batch: MaskedBatch
  ) -> tuple[SegmenterState, Float[Array, ""]]:
    """Moves the parameters by one step; returns the loss before it."""
    pixels, labels = self._views(batch)

    def loss(params: Params) -> Float[Array, ""]:
      logits = self.logits(encoder, params, pixels)
      return ce_dice_loss(enlarge(logits, labels.shape[1:]), labels)

    value, grads = jax.value_and_grad(loss)(state.params)
    grads, _ = self._optimizer.clip(grads)
    params, opt_state = self._optimizer.update(
      grads,
      state.opt_state,
      state.params,
      hyper=_rates(self.settings.train, state.step),
    )
    state = state.replace(
      step=state.step + 1, params=params, opt_state=opt_state
    )
    return state, value

  def _views(
    self, batch: MaskedBatch
  ) -> tuple[Float[Array, "B s s"], UInt8[Array, "B s s"]]:
    structures = self.settings.data.structures
    return joint_views(
      batch.pixels,
      batch.labels,
      batch.index,
      key=jax.random.key(self.settings.seed),
      settings=self.settings.views,
      mirrored=jnp.asarray(mirrored_classes(structures)),
    )

  @property
  def _optimizer(self) -> Optimizer:
    s = self.settings.train
    return adapting_optimizer(
      layerwise_decay=s.layerwise_decay, clip_norm=s.clip_norm
    )


def _rates(s: MaskTrainingSettings, step: Int[Array, ""]) -> Hyperparameters:
  return adapting_rates(
    step,
    head=s.head_learning_rate,
    encoder=s.encoder_learning_rate,
    weight_decay=s.weight_decay,
    total_steps=s.steps,
    warmup_steps=s.warmup_steps,
  )
