"""The planner against real states and compiled programs."""

import pathlib
import subprocess
import sys

import jax
import pytest
import tiny

from scan42_jax import planning as plan
from scan42_jax.program import compile_step, state_shapes

ROOT = pathlib.Path(__file__).parents[1]


def _bytes(tree):
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def test_memory_of_the_state_is_its_size():
  settings = tiny.settings()
  memory = plan.memory_per_device(settings, 1)
  state = state_shapes(settings)
  assert memory.parameters == _bytes((state.student, state.teacher))
  assert memory.optimizer == _bytes(state.opt_state)
  split = plan.memory_per_device(tiny.settings(**{"mesh.fsdp": 4}), 4)
  assert split.parameters < 0.5 * memory.parameters
  assert split.activations == memory.activations / 4


def test_activations_bound_what_the_compiler_keeps():
  fields = {"model.width": 64, "crops.global_size_px": 112}
  kept, compiled = [], []
  for images in (8, 32):
    settings = tiny.settings(batch_size=images, **fields)
    mesh = tiny.single_device_mesh()
    with jax.set_mesh(mesh):
      program = compile_step(settings, mesh).lower(
        state_shapes(settings), tiny.films(settings)
      )
      analysis = program.compile().memory_analysis()
    compiled.append(analysis.temp_size_in_bytes)
    kept.append(plan.memory_per_device(settings, 1).activations)
  growth = (kept[1] - kept[0]) / (compiled[1] - compiled[0])
  assert 0.5 < growth < 3


def test_recomputing_keeps_less():
  kept = [
    plan.activation_bytes_per_film(tiny.settings(**{"model.remat": kind}))
    for kind in ("none", "dots", "full")
  ]
  assert kept[0] > kept[1] > kept[2]


@pytest.mark.parametrize(
  ("memory", "advice"),
  [
    ((1e9, 1e9, 1e9, 1e9), "it fits"),
    ((90e9, 40e9, 1e9, 1e9), "split them, --config.mesh.fsdp=2"),
    ((1e9, 1e9, 1e9, 200e9), "it fits with --config.model.remat=dots"),
  ],
)
def test_advice(memory, advice):
  memory = plan.Memory(*memory)
  assert advice in plan.advice(tiny.settings(), 8, memory, 72e9)


def _plan(*flags):
  command = [sys.executable, "-m", "scan42_jax.plan", *flags]
  return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_plan_of_the_published_run():
  done = _plan("--config=configs/vits.py", "--devices=64", "--chip=h200")
  assert done.returncode == 0, done.stderr
  assert "840 GFLOP a film" in done.stdout
  assert "assumed and not measured" in done.stdout
  assert done.stdout.rstrip().endswith("it fits")


def test_a_mesh_that_does_not_fit_is_one_line():
  done = _plan("--config=configs/vits.py", "--devices=3")
  assert done.returncode == 1
  assert done.stderr.startswith("error: micro-batches of 1024 films")
  assert done.stderr.count("\n") == 1
