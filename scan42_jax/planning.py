"""Reads a run's memory, arithmetic and time off its traced program.

Nothing is allocated or compiled, and no accelerator is needed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType

from scan42_jax import sharding
from scan42_jax.chips import Chip
from scan42_jax.compute import step_flops
from scan42_jax.data.batches import make_batch
from scan42_jax.objective import student_loss, teacher_targets
from scan42_jax.program import state_shapes
from scan42_jax.settings import Settings
from scan42_jax.types import Films

# Of a chip's peak; published DINOv2 trainers reach 17 to 46 %.
_SLOW, _FAST = 0.25, 0.45
# What the runtime, fragments and the compiler's scratch may take.
_USABLE = 0.9


@dataclasses.dataclass(frozen=True)
class Memory:
  """Bytes on one device.

  Attributes:
    parameters: student and teacher.
    optimizer: both moments.
    gradients: of the student.
    activations: what the forward pass keeps for the backward pass of one
      micro-batch. An upper bound: compilers compute cheap ones again.
  """

  parameters: float
  optimizer: float
  gradients: float
  activations: float

  @property
  def total(self) -> float:
    """All of it."""
    return sum(dataclasses.astuple(self))


def memory_per_device(settings: Settings, num_devices: int) -> Memory:
  """Returns what one device has to hold.

  Raises:
    ValueError: the mesh does not fit the devices, or the batch the mesh.
  """
  shape = sharding.mesh_shape(dataclasses.astuple(settings.mesh), num_devices)
  mesh = AbstractMesh(shape, sharding.AXES, (AxisType.Auto,) * 3)
  state = state_shapes(settings)
  places = sharding.state_sharding(mesh, state)

  def held(name: str) -> float:
    leaves = jax.tree.leaves(getattr(state, name))
    spots = jax.tree.leaves(getattr(places, name))
    return sum(
      math.prod(spot.shard_shape(x.shape)) * x.dtype.itemsize
      for x, spot in zip(leaves, spots, strict=True)
    )

  films = settings.batch_size // settings.accumulation_steps
  parts = shape[0] * shape[1]
  if films % parts:
    raise ValueError(
      f"micro-batches of {films} films do not divide over {parts} parts of the"
      " mesh: change config.batch_size or config.accumulation_steps"
    )
  return Memory(
    parameters=held("student") + held("teacher"),
    optimizer=held("opt_state"),
    gradients=held("student"),
    activations=films / parts * activation_bytes_per_film(settings),
  )


def activation_bytes_per_film(settings: Settings) -> float:
  """Returns what backpropagation through one film keeps, in bytes."""
  group = math.lcm(settings.masks.group_images, settings.objective.koleo_group)
  # What does not grow with the batch, casts of parameters, cancels out.
  small, large = (_residual_bytes(settings, n) for n in (group, 2 * group))
  return (large - small) / group


def _residual_bytes(settings: Settings, num_films: int) -> float:
  net = settings.net()
  state = state_shapes(settings)
  side = settings.data.canvas_px
  whole = jax.ShapeDtypeStruct((num_films,), jnp.int32)
  pixels = jax.ShapeDtypeStruct((num_films, side, side), jnp.uint8)

  def keep(student, teacher, centers, films):
    batch = make_batch(
      films,
      jax.random.key(0),
      crops=settings.crops,
      masks=settings.masks,
      patch_size=settings.model.patch_size,
    )
    common = {"batch": batch, "settings": settings.objective}
    targets = teacher_targets(net, teacher, centers, temperature=1.0, **common)
    loss = functools.partial(
      student_loss, net, targets=targets, drop_path_key=jax.random.key(0)
    )
    return jax.vjp(lambda p: loss(p, **common)[0], student)[1]

  kept = jax.eval_shape(
    keep,
    state.student,
    state.teacher,
    state.centers,
    Films(pixels, whole, whole, whole),
  )
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(kept))


def report(
  settings: Settings, num_devices: int, chip: Chip, price: float
) -> Iterator[str]:
  """Yields the lines of a plan."""
  memory = memory_per_device(settings, num_devices)
  for name, value in dataclasses.asdict(memory).items():
    yield f"{name:<12} {value / 1e9:8.2f} GB per device"
  room = _USABLE * chip.memory
  yield f"{'together':<12} {memory.total / 1e9:8.2f} of {room / 1e9:.0f} GB"
  work = step_flops(settings)
  total = work * settings.batch_size * settings.schedule.total_steps
  yield (
    f"{work / 1e9:.0f} GFLOP a film, {work * settings.batch_size / 1e12:.1f}"
    f" TFLOP a step, {total / 1e18:.2f} EFLOP the run"
  )
  rates = [share * chip.flops * num_devices / work for share in (_SLOW, _FAST)]
  hours = [total / work / rate / 3600 for rate in reversed(rates)]
  yield (
    f"at {_SLOW:.0%} to {_FAST:.0%} of the chips' peak, which is assumed and"
    f" not measured: {rates[0]:.0f} to {rates[1]:.0f} images/s,"
    f" {hours[0]:.1f} to {hours[1]:.1f} hours"
  )
  if price:
    costs = [hour * num_devices * price for hour in hours]
    yield f"{costs[0]:.0f} to {costs[1]:.0f} at {price:g} a chip and hour"
  yield advice(settings, num_devices, memory, room)


def advice(
  settings: Settings, num_devices: int, memory: Memory, room: float
) -> str:
  """Says what to change, the cheapest change first."""
  fixed = memory.total - memory.activations
  if fixed > room:
    parts = min(num_devices, 2 ** math.ceil(math.log2(fixed / room)))
    return (
      "parameters and moments alone do not fit: split them,"
      f" --config.mesh.fsdp={parts}"
    )
  if memory.total <= room:
    return "it fits"
  for kind, price in (("dots", "a tenth"), ("full", "a quarter")):
    model = dataclasses.replace(settings.model, remat=kind)
    less = dataclasses.replace(settings, model=model)
    if memory_per_device(less, num_devices).total <= room:
      return f"it fits with --config.model.remat={kind}, for {price} more work"
  need = memory.activations / (room - fixed)
  steps = settings.accumulation_steps * 2 ** math.ceil(math.log2(need))
  return f"it fits with --config.accumulation_steps={steps}"
