"""Schedules against DINOv2's numbers."""

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.schedules import CosineSchedule, Schedules


def _schedules(cfg):
  epoch = cfg["official_epoch_length"]
  total = cfg["epochs"] * epoch
  temperature_steps = cfg["warmup_teacher_temp_epochs"] * epoch
  return Schedules(
    learning_rate=CosineSchedule(
      base=cfg["lr"],
      final=cfg["min_lr"],
      total_steps=total,
      warmup_steps=cfg["warmup_epochs"] * epoch,
    ),
    weight_decay=CosineSchedule(
      base=cfg["weight_decay"],
      final=cfg["weight_decay_end"],
      total_steps=total,
    ),
    teacher_momentum=CosineSchedule(
      base=cfg["momentum_teacher"],
      final=cfg["final_momentum_teacher"],
      total_steps=total,
    ),
    teacher_temperature=CosineSchedule(
      start=cfg["warmup_teacher_temp"],
      base=cfg["teacher_temp"],
      final=cfg["teacher_temp"],
      total_steps=temperature_steps,
      warmup_steps=temperature_steps,
    ),
    freeze_last_layer_steps=cfg["freeze_last_layer_epochs"] * epoch,
  )


def test_golden_schedules(golden_file):
  arrays, meta = golden_files.load(golden_file("schedules.npz"))
  for name, cfg in meta.items():
    stored = golden_files.strip(arrays, f"{name}/")
    with jax.enable_x64(True):
      hyper = _schedules(cfg).at(jnp.asarray(stored["iteration"]))
    for ours, theirs in [
      (hyper.learning_rate, "lr"),
      (hyper.last_layer_learning_rate, "last_layer_lr"),
      (hyper.weight_decay, "wd"),
      (hyper.teacher_momentum, "momentum"),
      (hyper.teacher_temperature, "teacher_temp"),
    ]:
      np.testing.assert_allclose(
        ours, stored[theirs], rtol=1e-10, err_msg=f"{name}: {theirs}"
      )


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_whole_run_stays_within_its_ends(warmup):
  schedule = CosineSchedule(
    base=1.0, final=0.1, total_steps=10, warmup_steps=warmup
  )
  values = schedule(jnp.arange(20))
  assert jnp.isfinite(values).all()
  assert values.max() <= 1 and values.min() >= 0
