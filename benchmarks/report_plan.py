"""Plans report generation with a language model of seven billion parameters.

  python -m benchmarks.report_plan

Shapes, places and programs of every stage on a mesh of eight devices; nothing
is allocated, and no accelerator is needed. Prints a table in Markdown.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from scan42_jax import paths
from scan42_jax.eval.reports.decoding import DecodingSettings, Ending
from scan42_jax.eval.reports.generation import make_generate
from scan42_jax.eval.reports.learning import (
  StageState,
  make_optimizer,
  make_step,
  part_leaves,
)
from scan42_jax.eval.reports.placing import place_parameters
from scan42_jax.eval.reports.settings import StageSettings, TrainingSettings
from scan42_jax.eval.reports.writer import Writer
from scan42_jax.models.language_model import LanguageModelConfig
from scan42_jax.models.visual_language import VisualLanguageModel
from scan42_jax.sharding import batch_sharding, make_mesh

VICUNA = LanguageModelConfig(
  vocab_size=32_000,
  width=4096,
  depth=32,
  num_heads=32,
  num_key_heads=32,
  head_dim=128,
  hidden=11_008,
  norm_epsilon=1e-5,
  lora_rank=128,
  remat=True,
)
"""Vicuna 7B v1.5, with LLaVA's rank of LoRA."""

GRID, ENCODER_WIDTH, POOL = (37, 37), 384, 2
PROMPT, REPORT = 480, 160
"""Tokens: 361 of the film and the template's words; of the report."""

STAGES = ("projector", "projector_and_lora", "all")


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a stage asks of one device.

  Attributes:
    trained: parameters that move, of the whole model.
    gib: memory by what takes it.
    lowering_seconds: to trace and lower the step.
  """

  trained: int
  gib: dict[str, float]
  lowering_seconds: float


def network(config: LanguageModelConfig = VICUNA) -> VisualLanguageModel:
  """The model in bfloat16."""
  return VisualLanguageModel(
    config, projector_layers=2, grid=GRID, pool=POOL, dtype=jnp.bfloat16
  )


def abstract_parameters(net: VisualLanguageModel, mesh: Mesh, train: str):
  """Parameters of a stage, moving and frozen: shapes in their places."""

  def init(key):
    return net.init(
      key,
      jnp.zeros((1, math.prod(GRID), ENCODER_WIDTH)),
      jnp.zeros((1, 2), jnp.int32),
      jnp.ones((1, 2), bool),
    )["params"]

  shapes = jax.eval_shape(init, jax.random.key(0))
  moving, frozen = part_leaves(shapes, [StageSettings(train, steps=1)])
  frozen = {
    path: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16)
    for path, leaf in frozen.items()
  }
  return placed(moving, mesh), placed(frozen, mesh)


def placed(tree: Any, mesh: Mesh) -> Any:
  """Shapes with the sharding that the decoder's rules give them."""
  return jax.tree.map(
    lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
    tree,
    place_parameters(mesh, tree),
  )


def plan_stage(
  net: VisualLanguageModel, mesh: Mesh, train: str, *, batch_size: int
) -> Plan:
  """Shapes a stage and lowers its step."""
  moving, frozen = abstract_parameters(net, mesh, train)
  stage = StageSettings(train, steps=1000)
  optimizer = make_optimizer(TrainingSettings(), stage)
  scalar = jax.ShapeDtypeStruct((), jnp.float32)
  count = jax.ShapeDtypeStruct((), jnp.int32)
  state = placed(
    StageState(
      step=count,
      moving=moving,
      opt_state=jax.eval_shape(optimizer.init, moving),
      best=moving,
      best_loss=scalar,
      best_step=count,
    ),
    mesh,
  )
  begin = time.monotonic()
  jax.jit(make_step(net, optimizer, stage=stage), donate_argnums=0).lower(
    state, frozen, _batch(mesh, batch_size), jax.random.key(0)
  )
  return Plan(
    trained=sum(math.prod(leaf.shape) for leaf in moving.values()),
    gib={
      "frozen, bfloat16": held_gib(frozen),
      "trained": held_gib(moving),
      "best so far": held_gib(state.best),
      "gradients": held_gib(moving),
      "moments": held_gib(state.opt_state),
    },
    lowering_seconds=time.monotonic() - begin,
  )


def lower_generation(
  net: VisualLanguageModel, mesh: Mesh, *, batch_size: int
) -> float:
  """Lowers greedy generation; returns GiB of keys and values on a device."""
  moving, frozen = abstract_parameters(net, mesh, "projector_and_lora")
  writer = Writer(
    net=net,
    tokenizer=None,
    ending=Ending(ends=(2,), pad=1),
    prompt=lambda indication: [],
    max_report_tokens=REPORT,
  )
  batch = _batch(mesh, batch_size)
  rows = {
    name: jax.ShapeDtypeStruct(
      (batch_size, PROMPT), batch[name].dtype, sharding=batch[name].sharding
    )
    for name in ("tokens", "valid")
  }
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch_size))
  settings = DecodingSettings(max_tokens=REPORT)
  generate = make_generate(writer, settings, prompt_length=PROMPT)
  generate.lower(
    paths.unflatten({**moving, **frozen}),
    batch["seen"],
    rows["tokens"],
    rows["valid"],
    keys,
  )
  config = net.config
  one = 2 * config.depth * config.num_key_heads * config.head_dim * 2
  return batch_size * (PROMPT + REPORT) * one / mesh.size / 2**30


def held_gib(tree: Any) -> float:
  """What one device holds of arrays in their places."""
  return (
    sum(
      math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
      for leaf in jax.tree.leaves(tree)
    )
    / 2**30
  )


def _batch(mesh: Mesh, number: int) -> dict[str, jax.ShapeDtypeStruct]:
  length = PROMPT + REPORT
  shapes = {
    "seen": ((number, math.prod(GRID), ENCODER_WIDTH), jnp.float32),
    "tokens": ((number, length), jnp.int32),
    "valid": ((number, length), jnp.bool),
    "weights": ((number, length), jnp.float32),
  }
  return {
    name: jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh))
    for name, (shape, dtype) in shapes.items()
  }


def main() -> None:
  """Prints the plan of every stage."""
  jax.config.update("jax_num_cpu_devices", 8)
  mesh, net = make_mesh((1, 8, 1)), network()
  for train in STAGES:
    plan = plan_stage(net, mesh, train, batch_size=64)
    parts = " | ".join(f"{name} {gib:.2f}" for name, gib in plan.gib.items())
    print(
      f"| {train} | {plan.trained / 1e6:.1f} M | {parts} |"
      f" {sum(plan.gib.values()):.2f} GiB a device | lowered in"
      f" {plan.lowering_seconds:.0f} s |",
      flush=True,
    )
  gib = lower_generation(net, mesh, batch_size=64)
  print(f"| generation of 64 texts | keys and values {gib:.2f} GiB a device |")


if __name__ == "__main__":
  main()
