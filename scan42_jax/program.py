"""A run's step as one compiled program over a mesh of devices.

Shapes and places of everything are known here before anything is allocated, so
a run can be checked, lowered and planned without starting it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
from jax.sharding import Mesh

from scan42_jax import sharding
from scan42_jax.data.batches import make_batch
from scan42_jax.optim import Optimizer
from scan42_jax.settings import Settings
from scan42_jax.train_step import TrainState, init_state, make_train_step
from scan42_jax.types import Films, Metrics


def make_training_mesh(settings: Settings) -> Mesh:
  """Builds the mesh and checks that batches split over it.

  Raises:
    ValueError: the devices or the batch do not fit the mesh.
  """
  mesh = sharding.make_mesh(dataclasses.astuple(settings.mesh))
  parts = mesh.shape["data"] * mesh.shape["fsdp"]
  micro_batch = settings.batch_size // settings.accumulation_steps
  if micro_batch % parts:
    raise ValueError(
      f"config.batch_size={settings.batch_size} in"
      f" {settings.accumulation_steps} micro-batch(es) of {micro_batch} films"
      f" does not divide over {parts} parts of the mesh (data x fsdp)"
    )
  return mesh


def compile_step(
  settings: Settings, mesh: Mesh
) -> Callable[[TrainState, Films], tuple[TrainState, Metrics]]:
  """Jits the step from films to new state; the old state is donated."""
  net = settings.net()
  step = make_train_step(
    net,
    Optimizer(settings.optimizer),
    settings.schedules(),
    settings=settings.objective,
    seed=settings.seed,
    num_microbatches=settings.accumulation_steps,
    prepare=functools.partial(
      make_batch,
      key=jax.random.key(settings.seed),
      crops=settings.crops,
      masks=settings.masks,
      patch_size=settings.model.patch_size,
    ),
  )
  state = state_shardings(settings, mesh)
  return jax.jit(
    step,
    in_shardings=(state, sharding.batch_sharding(mesh)),
    out_shardings=(state, sharding.replicated(mesh)),
    donate_argnums=0,
  )


def state_shapes(settings: Settings) -> TrainState:
  """Returns the state's shapes and dtypes without making it."""
  net, optimizer = settings.net(), Optimizer(settings.optimizer)
  return jax.eval_shape(
    lambda key: init_state(net, optimizer, net.init(key)), jax.random.key(0)
  )


def state_shardings(settings: Settings, mesh: Mesh) -> TrainState:
  """Returns where every leaf of the state lives."""
  return sharding.state_sharding(mesh, state_shapes(settings))
