"""DINOv2's objective as one pure function: batch in, loss and statistics out.

Teacher targets, student forward and the four losses, with the reference's
scaling: loss = w_dino (global + local) + w_koleo koleo + w_ibot ibot. The terms
reported are the terms back-propagated. (The reference displays half of koleo
and of ibot.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import flax.struct
import jax
import jax.numpy as jnp

from scan42_jax.losses.dino import dino_loss
from scan42_jax.losses.ibot import ibot_loss
from scan42_jax.losses.koleo import koleo_loss
from scan42_jax.losses.prototypes import PrototypeTargets, balance_prototypes
from scan42_jax.losses.teacher import center_and_sharpen, sinkhorn_knopp
from scan42_jax.models.ssl import SelfDistillationNet
from scan42_jax.precision import widen
from scan42_jax.types import Array, Batch, Bool, Float, Metrics, Params


@dataclasses.dataclass(frozen=True)
class ObjectiveSettings:
  """Weights and temperatures of the losses.

  Attributes:
    teacher: how teacher logits become targets. Softmax centring is a mean over
      samples, so gradient accumulation equals one large batch; Sinkhorn-Knopp
      normalises the micro-batch jointly, so it does not.
    student_temperature: of every student softmax.
    center_momentum: of the moving mean that centring subtracts.
    ibot_center: 'tokens' weighs every masked patch alike; 'groups' averages the
      means of mask groups, as the published run did over its devices.
    dino_weight: of both DINO terms.
    ibot_weight: of the iBOT term.
    koleo_weight: of KoLeo, summed over the two global crops.
    koleo_group: images among which KoLeo seeks neighbours.
  """

  teacher: Literal["softmax_centering", "sinkhorn_knopp"] = "softmax_centering"
  student_temperature: float = 0.1
  center_momentum: float = 0.9
  ibot_center: Literal["tokens", "groups"] = "tokens"
  dino_weight: float = 1.0
  ibot_weight: float = 1.0
  koleo_weight: float = 0.1
  koleo_group: int = 64


@flax.struct.dataclass
class Targets:
  """What the teacher asks of the student.

  Attributes:
    dino: of each global crop's class token.
    ibot: of each masked patch, computed where it is used.
    logit_sums: by head, (sum of the logits, number of rows): the mean that
      updates the centre, kept apart so that micro-batches add up.
  """

  dino: Float[Array, "B 2 K"]
  ibot: PrototypeTargets
  logit_sums: Mapping[str, tuple[Float[Array, "K"], Float[Array, ""]]]


def gather_masked(
  patches: Float[Array, "B G P D"], batch: Batch
) -> Float[Array, "Q M D"]:
  """Picks the masked patches of every group into its slots."""
  flat = patches.reshape(len(batch.mask_index), -1, patches.shape[-1])
  return jnp.take_along_axis(flat, batch.mask_index[..., None], axis=1)


def teacher_targets(
  net: SelfDistillationNet,
  teacher: Params,
  centers: Mapping[str, Float[Array, "K"]],
  *,
  batch: Batch,
  temperature: Float[Array, ""],
  settings: ObjectiveSettings,
) -> Targets:
  """Encodes unmasked global crops and turns their logits into targets."""
  crops = batch.global_crops
  (tokens,) = net.encode_crops(teacher, [crops])
  cls = net.dino_logits(teacher, split(tokens.cls, crops))
  masked = gather_masked(split(tokens.patches, crops), batch)
  rows, kernel = net.ibot_rows(teacher, masked), net.ibot_kernel(teacher)
  used = batch.mask_weight > 0
  if settings.teacher == "softmax_centering":
    dino = center_and_sharpen(cls, centers["dino"], temperature)
    bias = -centers["ibot"] / temperature
  else:
    dino = sinkhorn_knopp(cls.reshape(-1, cls.shape[-1]), temperature)
    bias = balance_prototypes(rows, kernel, temperature, valid=used)
  sums = {
    "dino": (cls.sum(axis=(0, 1)), jnp.asarray(cls[..., 0].size, cls.dtype)),
    "ibot": _logit_sum(rows, kernel, used, settings.ibot_center),
  }
  targets = Targets(
    dino=dino.reshape(cls.shape),
    ibot=PrototypeTargets(rows, kernel, bias, temperature),
    logit_sums=sums,
  )
  return jax.lax.stop_gradient(targets)


def student_loss(
  net: SelfDistillationNet,
  student: Params,
  targets: Targets,
  *,
  batch: Batch,
  settings: ObjectiveSettings,
  drop_path_key: Array,
) -> tuple[Float[Array, ""], Metrics]:
  """Returns the loss and its weighted terms, which sum to it."""
  crops = batch.global_crops
  tokens, local = net.encode_crops(
    student,
    [crops, batch.local_crops],
    batch.patch_mask,
    drop_path_key=drop_path_key,
  )
  cls = split(tokens.cls, crops)
  # One pass through the head: its gradient is then reduced once, too.
  logits = net.dino_logits(
    student,
    jnp.concatenate([cls, split(local.cls, batch.local_crops)], axis=1),
  )
  global_term, local_term = dino_loss(
    logits[:, : cls.shape[1]],
    logits[:, cls.shape[1] :],
    targets.dino,
    temperature=settings.student_temperature,
  )
  masked = gather_masked(split(tokens.patches, crops), batch)
  ibot_term = ibot_loss(
    net.ibot_rows(student, masked),
    net.ibot_kernel(student),
    targets.ibot,
    batch.mask_weight,
    num_crops=len(tokens.cls),
    temperature=settings.student_temperature,
  )
  koleo_term = sum(
    # Neighbours at bf16 precision coincide.
    koleo_loss(widen(cls[:, crop]), group=settings.koleo_group)
    for crop in range(cls.shape[1])
  )
  terms = {
    "dino_global": settings.dino_weight * global_term,
    "dino_local": settings.dino_weight * local_term,
    "ibot": settings.ibot_weight * ibot_term,
    "koleo": settings.koleo_weight * koleo_term,
  }
  return sum(terms.values()), terms


def target_statistics(targets: Targets) -> Metrics:
  """Signs of collapse, read off the DINO targets of one batch.

  `teacher_entropy` near 0 or near ln K, and a small `prototype_use` (share of
  prototypes that are some crop's first choice), mean that targets say nothing.
  """
  probs = targets.dino
  entropy = -jnp.sum(probs * jnp.log(jnp.maximum(probs, 1e-30)), axis=-1)
  favourites = jnp.argmax(probs, axis=-1).reshape(-1)
  used = jnp.zeros(probs.shape[-1]).at[favourites].set(1)
  return {"teacher_entropy": entropy.mean(), "prototype_use": used.mean()}


def split(
  rows: Float[Array, "N *X"], crops: Float[Array, "B G *Y"]
) -> Float[Array, "B G *X"]:
  """Parts the image and crop axes of what was computed from `crops`."""
  return rows.reshape(*crops.shape[:2], *rows.shape[1:])


def _logit_sum(
  rows: Float[Array, "Q M E"],
  kernel: Float[Array, "E K"],
  used: Bool[Array, "Q M"],
  kind: str,
) -> tuple[Float[Array, "K"], Float[Array, ""]]:
  """Sum over masked patches and their number, or the same over group means.

  Logits are linear in the rows, so the rows are summed and no logit is made.
  """
  used = used.astype(kernel.dtype)
  sums = jnp.einsum("qme,qm->qe", rows.astype(kernel.dtype), used)
  counts = used.sum(axis=1)
  if kind == "groups":
    sums = sums / jnp.maximum(counts, 1)[:, None]
    counts = jnp.ones_like(counts)
  total = jnp.matmul(sums.sum(axis=0), kernel, precision="highest")
  return total, counts.sum()
