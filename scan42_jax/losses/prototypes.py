"""Cross-entropy over prototypes that never holds all logits at once.

At 131,072 prototypes the logits of one device's masked patches take 14 GB a
copy. Here they exist for a few rows at a time: loss and gradients are made in
one pass over chunks, and the teacher's probabilities are never stored.
"""

from __future__ import annotations

import functools
import math

import flax.struct
import jax
import jax.numpy as jnp

from scan42_jax.precision import wide_matmul
from scan42_jax.sharding import num_batch_shards
from scan42_jax.types import Array, Bool, Float

_CHUNK_LOGITS = 2**26
"""Most logits of a chunk on one device: 256 MiB in float32."""


@flax.struct.dataclass
class PrototypeTargets:
  """softmax(rows @ kernel / temperature + bias), not yet computed.

  Both teachers have this form: centring adds -center / temperature, and
  Sinkhorn-Knopp a logarithmic weight of each prototype.

  Attributes:
    rows: bottleneck outputs of the teacher, in mask slots of groups.
    kernel: prototypes, unit columns times gains.
    bias: of each prototype.
    temperature: of the teacher.
  """

  rows: Float[Array, "Q M E"]
  kernel: Float[Array, "E K"]
  bias: Float[Array, "K"]
  temperature: Float[Array, ""] | float

  def probs(self, rows: Float[Array, "*N E"]) -> Float[Array, "*N K"]:
    """Returns the targets of some rows."""
    logits = wide_matmul(rows, self.kernel) / self.temperature
    return jax.nn.softmax(logits + self.bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def weighted_cross_entropy(
  rows: Float[Array, "Q M E"],
  kernel: Float[Array, "E K"],
  targets: PrototypeTargets,
  weights: Float[Array, "Q M"],
  temperature: float,
) -> Float[Array, ""]:
  """sum_n weight_n * -sum_k target_nk log softmax(logits / temperature)_nk.

  Differentiable in `rows` and `kernel` alone.

  Args:
    rows: bottleneck outputs of the student.
    kernel: the student's prototypes.
    targets: what the teacher asks of each row.
    weights: of the rows; 0 in unused slots.
    temperature: of the student.
  """

  def add(total, chunk):
    loss, _ = _chunk_loss(chunk, kernel, targets, temperature)
    return total + loss, None

  total, _ = jax.lax.scan(
    add, _zero(kernel), _chunks(kernel, rows, targets.rows, weights)
  )
  return total


def _forward(rows, kernel, targets, weights, temperature):
  """The loss and its gradients, from the same logits."""
  num_shards = math.gcd(num_batch_shards(), len(rows))

  def by_shard(x: Float[Array, "Q m X"]) -> Float[Array, "S n X"]:
    return x.reshape(num_shards, -1, x.shape[-1])

  def add(carry, chunk):
    total, kernel_grad = carry
    loss, residual = _chunk_loss(chunk, kernel, targets, temperature)
    residual = residual.astype(rows.dtype)
    rows_grad = jnp.matmul(residual, kernel.T.astype(rows.dtype))
    # One sum for each part of the batch: the parts are added after the loop,
    # so that devices exchange gradients once and not with every chunk.
    kernel_grad += jnp.einsum(
      "sne,snk->sek",
      by_shard(chunk[0]),
      by_shard(residual),
      preferred_element_type=kernel_grad.dtype,
    )
    return (total + loss, kernel_grad), rows_grad

  start = _zero(kernel), jnp.zeros((num_shards, *kernel.shape), kernel.dtype)
  chunks = _chunks(kernel, rows, targets.rows, weights)
  (total, kernel_grad), rows_grad = jax.lax.scan(add, start, chunks)
  rows_grad = jnp.moveaxis(rows_grad, 0, 1).reshape(
    len(rows), -1, rows.shape[2]
  )
  return total, (rows_grad[:, : rows.shape[1]], kernel_grad.sum(axis=0))


def _backward(temperature, gradients, cotangent):
  del temperature
  rows_grad, kernel_grad = gradients
  return (
    (cotangent * rows_grad).astype(rows_grad.dtype),
    cotangent * kernel_grad,
    None,
    None,
  )


weighted_cross_entropy.defvjp(_forward, _backward)


def _chunk_loss(chunk, kernel, targets: PrototypeTargets, temperature):
  """Loss of a chunk, and its gradient to the logits."""
  student, teacher, weights = chunk
  logits = wide_matmul(student, kernel) / temperature
  probs = targets.probs(teacher)
  log_total = jax.nn.logsumexp(logits, axis=-1)
  losses = log_total - jnp.sum(probs * logits, axis=-1)
  residual = jnp.exp(logits - log_total[..., None]) - probs
  residual *= weights[..., None] / temperature
  return jnp.sum(losses * weights), residual


def balance_prototypes(
  rows: Float[Array, "Q M E"],
  kernel: Float[Array, "E K"],
  temperature: Float[Array, ""] | float,
  *,
  valid: Bool[Array, "Q M"],
  num_iterations: int = 3,
) -> Float[Array, "K"]:
  """Sinkhorn-Knopp's weight of each prototype, as a logarithm.

  softmax(logits / temperature + result) are the assignments that
  `losses.teacher.sinkhorn_knopp` returns, without holding them: dividing a
  prototype's column by its mass adds to the result, dividing a row by its mass
  is the softmax.

  Args:
    rows: bottleneck outputs of the teacher.
    kernel: its prototypes.
    temperature: divides the logits.
    valid: rows that take part.
    num_iterations: normalisation rounds.
  """
  chunks = _chunks(kernel, rows, valid)
  bias = jnp.zeros(kernel.shape[1], kernel.dtype)

  def scaled(chunk_rows):
    return wide_matmul(chunk_rows, kernel) / temperature

  def column_peak(peak, chunk):
    logits = jnp.where(chunk[1][..., None], scaled(chunk[0]), -jnp.inf)
    return jnp.maximum(peak, logits.max(axis=(0, 1))), None

  def column_mass(shift, is_first):
    def add(mass, chunk):
      logits = scaled(chunk[0]) + shift
      part = jnp.exp(logits) if is_first else jax.nn.softmax(logits)
      return mass + jnp.where(chunk[1][..., None], part, 0).sum((0, 1)), None

    return jax.lax.scan(add, jnp.zeros_like(bias), chunks)[0]

  # The first round has no row sums yet: its columns are shifted by their own
  # largest logit, so that none overflows or vanishes.
  peak, _ = jax.lax.scan(column_peak, jnp.full_like(bias, -jnp.inf), chunks)
  bias = -jnp.where(jnp.isfinite(peak), peak, 0)
  for i in range(num_iterations):
    mass = column_mass(bias, is_first=i == 0)
    bias -= jnp.log(jnp.where(mass > 0, mass, 1))
  return bias


def _chunks(kernel: Float[Array, "E K"], *arrays: Array) -> tuple[Array, ...]:
  """[Q, M, ...] -> [chunks, Q, m, ...], filled up with zeros."""
  groups, slots = arrays[0].shape[:2]
  logits = groups * slots * kernel.shape[1] / num_batch_shards()
  number = min(max(math.ceil(logits / _CHUNK_LOGITS), 1), slots)
  size = math.ceil(slots / number)
  number = math.ceil(slots / size)

  def cut(x: Array) -> Array:
    padding = [(0, 0), (0, number * size - slots), *[(0, 0)] * (x.ndim - 2)]
    x = jnp.pad(x, padding).reshape(groups, number, size, *x.shape[2:])
    return jnp.moveaxis(x, 1, 0)

  return tuple(map(cut, arrays))


def _zero(kernel: Array) -> Float[Array, ""]:
  return jnp.zeros((), kernel.dtype)
