"""Goes through everything once in small: film, crops, step, checkpoint.

A phantom film is drawn, written as DICOM, read back, and a tiny network makes
two steps on it on all devices, is saved, and read back.
"""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import time
from collections.abc import Iterator

import jax
import numpy as np

from scan42_jax.checkpoint import Checkpoints
from scan42_jax.checkup.finding import Finding
from scan42_jax.data.crops import CropSettings
from scan42_jax.data.images import read_film
from scan42_jax.data.masking import MaskSettings
from scan42_jax.datasets.phantom_files import write_dicom
from scan42_jax.datasets.phantom_film import render
from scan42_jax.models.vit import ViTConfig
from scan42_jax.objective import ObjectiveSettings
from scan42_jax.optim import Optimizer
from scan42_jax.program import (
  compile_step,
  make_training_mesh,
  state_shardings,
)
from scan42_jax.settings import (
  HeadSettings,
  ScheduleSettings,
  Settings,
  check,
  to_json,
)
from scan42_jax.sharding import batch_sharding
from scan42_jax.train_step import TrainState, init_state
from scan42_jax.types import Films

_SIDE_PX = 64


def tiny_settings(num_devices: int) -> Settings:
  """Returns the settings of the smallest run on so many devices."""
  head = HeadSettings(num_prototypes=32, hidden_dim=32, bottleneck_dim=16)
  settings = Settings(
    batch_size=2 * num_devices,
    dtype="float32",
    model=ViTConfig(
      width=32, depth=1, num_heads=2, patch_size=14, image_size=56
    ),
    dino_head=head,
    ibot_head=head,
    crops=CropSettings(global_size_px=56, local_size_px=28, num_local=2),
    masks=MaskSettings(group_images=2),
    objective=ObjectiveSettings(koleo_group=2),
    schedule=ScheduleSettings(total_steps=4, warmup_steps=1),
  )
  check(settings)
  return settings


def one_step() -> Iterator[Finding]:
  """Trains in small and says whether all of it worked."""
  start = time.monotonic()
  try:
    with tempfile.TemporaryDirectory() as folder:
      text = _train(pathlib.Path(folder))
  except Exception as error:  # A check-up reports whatever happens.
    first = (str(error).splitlines() or [""])[0]
    yield Finding(
      "fail",
      "tiny run",
      f"{type(error).__name__}: {first[:200]}",
      "mend what fails above first; else report this line",
    )
    return
  took = time.monotonic() - start
  yield Finding("ok", "tiny run", f"{text}, in {took:.0f} s")


def _train(folder: pathlib.Path) -> str:
  settings = tiny_settings(jax.device_count())
  mesh = make_training_mesh(settings)
  films = _films(folder, settings.batch_size)
  with jax.set_mesh(mesh), contextlib.ExitStack() as stack:
    state = _first_state(settings, mesh)
    step = compile_step(settings, mesh)
    place = batch_sharding(mesh)
    for number in range(2):
      shown = films.replace(index=films.index + number * settings.batch_size)
      state, metrics = step(state, jax.device_put(shown, place))
    loss = float(metrics["loss"])
    if not np.isfinite(loss):
      raise FloatingPointError(f"the loss is {loss}")
    checkpoints = Checkpoints(folder / "run", keep=1)
    stack.callback(checkpoints.close)
    checkpoints.save(2, state, to_json(settings))
    checkpoints.wait()
    template = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      state,
    )
    again = checkpoints.restore(template, accept=lambda config: None)
    for before, after in zip(
      jax.tree.leaves(state), jax.tree.leaves(again), strict=True
    ):
      np.testing.assert_array_equal(before, after)
  return f"DICOM, crops, 2 steps (loss {loss:.2f}), checkpoint and back"


def _first_state(settings: Settings, mesh) -> TrainState:
  net, places = settings.net(), state_shardings(settings, mesh)
  return jax.jit(
    lambda key: init_state(net, Optimizer(settings.optimizer), net.init(key)),
    out_shardings=places,
  )(jax.random.key(settings.seed))


def _films(folder: pathlib.Path, count: int) -> Films:
  """Draws one phantom, reads it back from DICOM, and shows it `count` times."""
  path = folder / "phantom.dcm"
  rng = np.random.default_rng(0)
  write_dicom(path, render(0, 0, size_px=_SIDE_PX), rng=rng)
  film = read_film(path).pixels
  canvas = np.zeros((count, _SIDE_PX, _SIDE_PX), np.uint8)
  canvas[:, : film.shape[0], : film.shape[1]] = film
  height, width = (np.full(count, side, np.int32) for side in film.shape)
  return Films(canvas, height, width, np.arange(count, dtype=np.int32))
