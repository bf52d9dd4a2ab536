"""The training step against DINOv2's, and its own promises."""

import dataclasses

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax import paths
from scan42_jax.models.heads import ProjectionHead
from scan42_jax.models.ssl import SelfDistillationNet
from scan42_jax.models.vit import VisionTransformer, ViTConfig
from scan42_jax.objective import ObjectiveSettings, teacher_targets
from scan42_jax.optim import Optimizer, OptimizerSettings, param_groups
from scan42_jax.schedules import CosineSchedule, Schedules
from scan42_jax.train_step import init_state, make_train_step
from scan42_jax.types import Batch
from scan42_jax.weights.dinov2 import from_dinov2

VARIANTS = [
  f"train_step_{teacher}_{head}_head.npz"
  for teacher in ("centering", "sinkhorn")
  for head in ("separate", "shared")
]
MODULES = {
  "encoder": "backbone",
  "dino_head": "dino_head",
  "ibot_head": "ibot_head",
}


class Golden:
  """One file of two reference steps, in our names and layouts."""

  def __init__(self, path):
    self.arrays, self.meta = golden_files.load(path)
    self.cfg = self.meta["cfg"]
    self.separate = self.cfg["ibot"]["separate_head"]
    self.centering = self.cfg["train"]["centering"] == "centering"

  def params(self, prefix):
    tree = {}
    for ours, theirs in MODULES.items():
      module = golden_files.strip(self.arrays, f"{prefix}/{theirs}.")
      if module:
        tree[ours] = paths.unflatten(from_dinov2(module))
    return tree

  def net(self):
    cfg, student = self.cfg, self.cfg["student"]
    config = ViTConfig(
      width=self.meta["arch"]["embed_dim"],
      depth=self.meta["arch"]["depth"],
      num_heads=self.meta["arch"]["num_heads"],
      patch_size=student["patch_size"],
      num_registers=student["num_register_tokens"],
      image_size=cfg["crops"]["global_crops_size"],
      swiglu=student["ffn_layer"].startswith("swiglu"),
      layer_scale=student["layerscale"],
      drop_path=student["drop_path_rate"],
      position_offset=student["interpolate_offset"],
      position_antialias=student["interpolate_antialias"],
    )
    return SelfDistillationNet(
      encoder=VisionTransformer(config),
      dino_head=self._head(cfg["dino"]),
      ibot_head=self._head(cfg["ibot"]) if self.separate else None,
    )

  @staticmethod
  def _head(cfg):
    return ProjectionHead(
      num_prototypes=cfg["head_n_prototypes"],
      num_layers=cfg["head_nlayers"],
      hidden_dim=cfg["head_hidden_dim"],
      bottleneck_dim=cfg["head_bottleneck_dim"],
    )

  def objective(self):
    return ObjectiveSettings(
      teacher="softmax_centering" if self.centering else "sinkhorn_knopp",
      dino_weight=self.cfg["dino"]["loss_weight"],
      ibot_weight=self.cfg["ibot"]["loss_weight"],
      koleo_weight=self.cfg["dino"]["koleo_loss_weight"],
      koleo_group=self.meta["B"],
    )

  def optimizer(self):
    optim = self.cfg["optim"]
    return Optimizer(
      OptimizerSettings(
        layerwise_decay=optim["layerwise_decay"],
        patch_embed_multiplier=optim["patch_embed_lr_mult"],
        clip_norm=optim["clip_grad"],
        beta1=optim["adamw_beta1"],
        beta2=optim["adamw_beta2"],
      )
    )

  def schedules(self):
    optim, teacher = self.cfg["optim"], self.cfg["teacher"]
    epoch = self.cfg["train"]["OFFICIAL_EPOCH_LENGTH"]
    total = optim["epochs"] * epoch
    temperature_steps = teacher["warmup_teacher_temp_epochs"] * epoch
    return Schedules(
      learning_rate=CosineSchedule(
        base=optim["lr"],
        final=optim["min_lr"],
        total_steps=total,
        warmup_steps=optim["warmup_epochs"] * epoch,
      ),
      weight_decay=CosineSchedule(
        base=optim["weight_decay"],
        final=optim["weight_decay_end"],
        total_steps=total,
      ),
      teacher_momentum=CosineSchedule(
        base=teacher["momentum_teacher"],
        final=teacher["final_momentum_teacher"],
        total_steps=total,
      ),
      teacher_temperature=CosineSchedule(
        start=teacher["warmup_teacher_temp"],
        base=teacher["teacher_temp"],
        final=teacher["teacher_temp"],
        total_steps=temperature_steps,
        warmup_steps=temperature_steps,
      ),
      freeze_last_layer_steps=optim["freeze_last_layer_epochs"] * epoch,
    )

  def state(self):
    student = jax.tree.map(jnp.asarray, self.params("student_init"))
    state = init_state(self.net(), self.optimizer(), student)
    centers = dict(state.centers)
    for head in centers if self.centering else ():
      centers[head] = jnp.asarray(self.arrays[f"{head}_center_init"].ravel())
    return state.replace(
      step=jnp.asarray(self.meta["start_iter"], jnp.int32),
      teacher=jax.tree.map(jnp.asarray, self.params("teacher_init")),
      centers=centers,
    )

  def batch(self, step):
    """The collated batch, crop-major there, image-major here."""
    data = golden_files.strip(self.arrays, f"step{step}/in/")
    images = self.meta["B"]

    def by_image(x):
      return x.reshape(-1, images, *x.shape[1:]).swapaxes(0, 1)

    mask = by_image(data["collated_masks"])
    slots = int(data["upperbound"])
    index = np.flatnonzero(mask)
    weight = np.broadcast_to(
      1 / np.maximum(mask.sum(-1, keepdims=True), 1), mask.shape
    ).ravel()[index]
    padding = (0, slots - len(index))
    return Batch(
      global_crops=jnp.asarray(self._crops(data, "global", by_image)),
      local_crops=jnp.asarray(self._crops(data, "local", by_image)),
      patch_mask=jnp.asarray(mask),
      mask_index=jnp.asarray(np.pad(index, padding)[None]),
      mask_weight=jnp.asarray(np.pad(weight, padding)[None], jnp.float32),
    )

  @staticmethod
  def _crops(data, kind, by_image):
    return by_image(golden_files.channels_last(data[f"collated_{kind}_crops"]))

  def crop_major(self, x):
    """[B, 2, ...] -> [2B, ...], all first crops first."""
    return np.asarray(x).swapaxes(0, 1).reshape(-1, *x.shape[2:])


@pytest.fixture(scope="module", params=VARIANTS)
def run(request, golden_file):
  """A file, with our two steps: states, metrics and raw gradients."""
  golden = Golden(golden_file(request.param))
  net, optimizer = golden.net(), golden.optimizer()
  seen = []

  @dataclasses.dataclass(frozen=True)
  class Watched(Optimizer):
    def clip(self, grads):
      jax.debug.callback(lambda g: seen.append(g), grads, ordered=True)
      return Optimizer.clip(self, grads)

  step = jax.jit(
    make_train_step(
      net,
      Watched(optimizer.settings),
      golden.schedules(),
      settings=golden.objective(),
    )
  )
  states, metrics = [golden.state()], []
  for number in (1, 2):
    state, values = step(states[-1], golden.batch(number))
    states.append(state)
    metrics.append(values)
  jax.effects_barrier()
  return golden, states, metrics, seen


def test_golden_losses(run):
  golden, _, metrics, _ = run
  for number, values in enumerate(metrics, 1):
    expected = golden_files.strip(golden.arrays, f"step{number}/loss/")
    ours = {
      "dino_global_crops_loss": values["dino_global"]
      / golden.cfg["dino"]["loss_weight"],
      "dino_local_crops_loss": values["dino_local"]
      / golden.cfg["dino"]["loss_weight"],
      # The reference displays half of what it back-propagates.
      "koleo_loss": values["koleo"] / 2,
      "ibot_loss": values["ibot"] / 2 / golden.cfg["ibot"]["loss_weight"],
      "total_for_backprop": values["loss"],
    }
    for name, value in ours.items():
      np.testing.assert_allclose(value, expected[name], rtol=1e-5, err_msg=name)


def test_golden_gradients_and_norms(run):
  golden, _, metrics, gradients = run
  for number, (grads, values) in enumerate(
    zip(gradients, metrics, strict=True), 1
  ):
    expected = paths.flatten(golden.params(f"step{number}/grad"))
    ours = paths.flatten(grads)
    assert ours.keys() == expected.keys()
    for path, value in expected.items():
      np.testing.assert_allclose(
        ours[path], value, rtol=1e-3, atol=1e-5, err_msg=path
      )
    for module, theirs in MODULES.items():
      if module in grads:
        norm = golden.arrays[f"step{number}/grad_norm_preclip/{theirs}"]
        np.testing.assert_allclose(
          values[f"grad_norm_{module}"], norm, rtol=3e-5
        )


def test_golden_clipping(run):
  golden, *_ = run
  grads = jax.tree.map(jnp.asarray, golden.params("step1/grad"))
  clipped, _ = golden.optimizer().clip(grads)
  expected = paths.flatten(golden.params("step1/grad_clipped"))
  for path, value in paths.flatten(clipped).items():
    np.testing.assert_allclose(
      value, expected[path], rtol=3e-5, atol=1e-8, err_msg=path
    )


def test_golden_teacher_targets(run):
  golden, states, _, _ = run
  for number, state in enumerate(states[:2], 1):
    targets = teacher_targets(
      golden.net(),
      state.teacher,
      state.centers,
      batch=golden.batch(number),
      temperature=golden.schedules().at(state.step).teacher_temperature,
      settings=golden.objective(),
    )
    # The reference hands them over with the crops exchanged.
    dino = golden.crop_major(targets.dino[:, ::-1])
    expected = golden.arrays[f"step{number}/teacher_dino_probs"]
    np.testing.assert_allclose(dino, expected, atol=1e-5)
    expected = golden.arrays[f"step{number}/teacher_ibot_probs"]
    expected = expected.reshape(-1, expected.shape[-1])
    ours = _in_crop_major_order(
      golden, number, targets.ibot.probs(targets.ibot.rows[0])
    )
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def _in_crop_major_order(golden, number, rows):
  """Re-orders masked-patch rows from (image, crop) to (crop, image)."""
  mask = np.asarray(golden.batch(number).patch_mask)
  position = np.full(mask.shape, -1)
  position[mask] = np.arange(mask.sum())
  order = golden.crop_major(position)
  return np.asarray(rows)[order[order >= 0]]


def test_golden_centers(run):
  golden, states, _, _ = run
  if not golden.centering:
    pytest.skip("Sinkhorn-Knopp has no centre")
  for head in ("dino", "ibot"):
    for number, state in enumerate(states[:2], 1):
      used = golden.arrays[f"step{number}/{head}_center_used"].ravel()
      np.testing.assert_allclose(state.centers[head], used, atol=1e-6)
    final = golden.arrays[f"{head}_center_final"].ravel()
    np.testing.assert_allclose(states[-1].centers[head], final, atol=1e-6)


def test_golden_schedule_values_of_the_step(run):
  golden, *_ = run
  for number in (1, 2):
    hyper = golden.schedules().at(
      jnp.asarray(golden.meta["start_iter"] + number - 1)
    )
    expected = golden_files.strip(golden.arrays, f"step{number}/sched/")
    for ours, theirs in [
      (hyper.learning_rate, "lr"),
      (hyper.last_layer_learning_rate, "last_layer_lr"),
      (hyper.weight_decay, "wd"),
      (hyper.teacher_momentum, "mom"),
      (hyper.teacher_temperature, "teacher_temp"),
    ]:
      np.testing.assert_allclose(ours, expected[theirs], rtol=1e-6)


def test_golden_parameters_after_each_step(run):
  golden, states, _, _ = run
  for number, state in enumerate(states[1:], 1):
    rate = float(golden.arrays[f"step{number}/sched/lr"])
    momentum = float(golden.arrays[f"step{number}/sched/mom"])
    certain = _elements_with_gradient(golden, number)
    for tree, prefix, scale in [
      (state.student, "student", 1.0),
      (state.teacher, "teacher", 1 - momentum),
    ]:
      expected = paths.flatten(golden.params(f"step{number}/{prefix}"))
      for path, ours in paths.flatten(tree).items():
        error = np.abs(np.asarray(ours) - expected[path])
        sure = certain[path]
        # AdamW turns rounding noise of a zero gradient into a full step.
        assert error[sure].max(initial=0) <= 3e-6, (prefix, path)
        assert error[~sure].max(initial=0) <= 2.5 * rate * number * scale


def _elements_with_gradient(golden, number):
  """Where |gradient| >= 1e-5 in every step so far."""
  steps = [
    paths.flatten(golden.params(f"step{i}/grad")) for i in range(1, number + 1)
  ]
  return {
    path: np.min([np.abs(step[path]) for step in steps], axis=0) >= 1e-5
    for path in steps[0]
  }


def test_golden_optimizer_alone(run):
  golden, states, _, _ = run
  optimizer, state = golden.optimizer(), states[0]
  grads = jax.tree.map(jnp.asarray, golden.params("step1/grad_clipped"))
  student, _ = optimizer.update(
    grads,
    state.opt_state,
    state.student,
    hyper=golden.schedules().at(state.step),
  )
  expected = paths.flatten(golden.params("step1/student"))
  certain = _elements_with_gradient(golden, 1)
  for path, ours in paths.flatten(student).items():
    error = np.abs(np.asarray(ours) - expected[path])
    assert error[certain[path]].max(initial=0) <= 1e-6, path


def test_golden_parameter_groups_of_the_step(run):
  golden, states, _, _ = run
  groups = paths.flatten(
    param_groups(states[0].student, golden.optimizer().settings)
  )
  hyper = golden.schedules().at(states[0].step)
  for ours, theirs in MODULES.items():
    stored = golden_files.strip(golden.arrays, f"step1/group/{theirs}.")
    for name, values in stored.items():
      rate, decay, lr_multiplier, wd_multiplier, last = values
      group = groups[f"{ours}/{_our_path(ours, name)}"]
      assert group.lr_multiplier == pytest.approx(lr_multiplier, rel=1e-12)
      assert group.wd_multiplier == wd_multiplier
      assert group.is_last_layer == bool(last)
      base = hyper.last_layer_learning_rate if last else hyper.learning_rate
      np.testing.assert_allclose(base * lr_multiplier, rate, rtol=1e-6)
      np.testing.assert_allclose(
        hyper.weight_decay * wd_multiplier, decay, rtol=1e-6
      )


def _our_path(module, name):
  """Translates one name with a placeholder of any shape."""
  return next(iter(from_dinov2({name: np.zeros((1, 1, 1, 1))})))
