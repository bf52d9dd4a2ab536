"""The step of fine-tuning: state and films in, state and loss out.

Pure functions; reading, judging and saving are finetune.py's.
"""

from __future__ import annotations

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from scan42_jax.eval.adapting import adapting_optimizer, adapting_rates
from scan42_jax.eval.augment import augmented_views
from scan42_jax.eval.heads import mean_loss
from scan42_jax.eval.settings import EvalSettings, FinetuneSettings
from scan42_jax.eval.tokens import pooled_tokens
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.optim import Optimizer
from scan42_jax.schedules import Hyperparameters
from scan42_jax.types import Array, Bool, Films, Float, Int, Params
from scan42_jax.weights.preprocessing import Preprocessing


@flax.struct.dataclass
class FinetuneState:
  """Everything that a checkpoint must hold.

  Attributes:
    step: batches seen, hence the position in the data.
    params: {encoder, head: {kernel, bias}}.
    opt_state: AdamW moments.
    best: highest mean on validation so far, -inf before the first look.
    looks_since: looks at validation since then.
  """

  step: Int[Array, ""]
  params: Params
  opt_state: optax.OptState
  best: Float[Array, ""]
  looks_since: Int[Array, ""]


@flax.struct.dataclass
class LabelledFilms:
  """A batch: films with what they show."""

  films: Films
  labels: Float[Array | np.ndarray, "B C"]
  valid: Bool[Array | np.ndarray, "B C"]


@dataclasses.dataclass(frozen=True)
class FinetuneStep:
  """What one step does; a bundle of pure functions.

  Attributes:
    net: the encoder.
    layers: class tokens that the head sees, besides the mean patch.
    preprocessing: size and statistics of the encoder's input.
    settings: of the evaluation.
  """

  net: VisionTransformer
  layers: int
  preprocessing: Preprocessing
  settings: EvalSettings

  def start(self, encoder: Params, *, labels: int) -> FinetuneState:
    """Makes the state of step 0; the head starts as published: N(0, 0.01)."""
    width = (self.layers + 1) * self.net.config.width
    key = jax.random.key(self.settings.seed)
    params = {
      # Steps consume their input, and the encoder is still needed.
      "encoder": jax.tree.map(jnp.copy, encoder),
      "head": {
        "kernel": 0.01 * jax.random.normal(key, (width, labels)),
        "bias": jnp.zeros(labels),
      },
    }
    return FinetuneState(
      step=jnp.int32(0),
      params=params,
      opt_state=self._optimizer.init(params),
      best=jnp.float32(-jnp.inf),
      looks_since=jnp.int32(0),
    )

  def logits(
    self, params: Params, images: Float[Array, "B H W C"]
  ) -> Float[Array, "B K"]:
    """Scores standardised films."""
    tokens = pooled_tokens(
      self.net,
      params["encoder"],
      images,
      layers=self.layers,
      token=self.settings.features.token,
    )
    return tokens @ params["head"]["kernel"] + params["head"]["bias"]

  def __call__(
    self, state: FinetuneState, batch: LabelledFilms
  ) -> tuple[FinetuneState, Float[Array, ""]]:
    """Moves encoder and head by one step; returns the loss before it."""
    s, how = self.settings, self.preprocessing
    crops = s.finetune.augment.crops(
      size_px=how.crop_px or how.resize_px, mean=how.mean, std=how.std
    )
    images = augmented_views(batch.films, jax.random.key(s.seed), crops)

    def loss(params: Params) -> Float[Array, ""]:
      if not s.finetune.train_encoder:
        frozen = jax.lax.stop_gradient(params["encoder"])
        params = params | {"encoder": frozen}
      return mean_loss(
        self.logits(params, images),
        batch.labels,
        batch.valid,
        exclusive=s.data.exclusive,
      )

    value, grads = jax.value_and_grad(loss)(state.params)
    grads, _ = self._optimizer.clip(grads)
    params, opt_state = self._optimizer.update(
      grads,
      state.opt_state,
      state.params,
      hyper=_rates(s.finetune, state.step),
    )
    state = state.replace(
      step=state.step + 1, params=params, opt_state=opt_state
    )
    return state, value

  @property
  def _optimizer(self) -> Optimizer:
    s = self.settings.finetune
    return adapting_optimizer(
      layerwise_decay=s.layerwise_decay, clip_norm=s.clip_norm
    )


def _rates(s: FinetuneSettings, step: Int[Array, ""]) -> Hyperparameters:
  return adapting_rates(
    step,
    head=s.head_learning_rate,
    encoder=s.encoder_learning_rate if s.train_encoder else 0.0,
    weight_decay=s.weight_decay,
    total_steps=s.steps,
    warmup_steps=s.warmup_steps,
    constant=s.constant_rate,
  )
