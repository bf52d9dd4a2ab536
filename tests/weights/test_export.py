"""The export binary as a user calls it, and transformers as judge."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stored_run
from runs import ROOT, environment

from scan42_jax import paths
from scan42_jax.models.vit import VisionTransformer, ViTConfig
from scan42_jax.release.folder import write_release
from scan42_jax.release.sources import Release, release_of_weights
from scan42_jax.weights.initial import load_initial
from scan42_jax.weights.preprocessing import Preprocessing

SCRIPT = pathlib.Path(__file__).parent / "transformers_tokens.py"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("runs") / "run"
  stored_run.write_run(folder)
  return folder


def _export(*flags):
  return subprocess.run(
    [sys.executable, "-m", "scan42_jax.weights.export", *flags],
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=300,
  )


def _contents(folder):
  return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_export_import_export(workdir, tmp_path):
  first, second = tmp_path / "first", tmp_path / "second"
  for flags in (
    (f"--workdir={workdir}", f"--output={first}", "--license=cc-by-4.0"),
    (f"--encoder={first}", f"--output={second}"),
  ):
    result = _export(*flags, "--dinov2")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"wrote {flags[1].removeprefix('--output=')}\n"
    assert result.stderr == ""
  assert _contents(first) == _contents(second)
  back = load_initial(first / "dinov2.safetensors")
  assert back.heads.keys() == {"dino_head", "ibot_head"}
  assert back.config.num_heads == 2
  for path, value in load_initial(first).encoder.items():
    np.testing.assert_array_equal(back.encoder[path], value)


@pytest.mark.parametrize(
  "flags, message",
  [
    ((), "name either --workdir or --encoder"),
    (("--stepp=3",), "Unknown command line flag 'stepp'"),
    (("--encoder=x", "--step=3"), "--step and --which belong to --workdir"),
    (("--workdir={workdir}", "--step=5"), "has no step 5; it has 4, 8"),
  ],
)
def test_mistakes_end_in_one_line(workdir, tmp_path, flags, message):
  flags = [flag.format(workdir=workdir) for flag in flags]
  result = _export(f"--output={tmp_path / 'out'}", *flags)
  assert result.returncode == 1 and result.stdout == ""
  assert result.stderr.startswith("error: ") and message in result.stderr
  assert result.stderr.count("\n") == 1
  assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def torch_python():
  """SCAN42_TORCH_PYTHON, or this interpreter if it has the libraries."""
  python = os.environ.get("SCAN42_TORCH_PYTHON")
  if python is None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
  return python or sys.executable


def _release(**changes):
  """Random weights that came from nowhere."""
  config = ViTConfig(
    width=48,
    depth=3,
    num_heads=4,
    image_size=56,
    position_offset=0.0,
    **changes,
  )
  image = jnp.zeros((1, 14, 14, 3))
  shapes = jax.eval_shape(
    VisionTransformer(config).init, jax.random.key(0), image
  )
  rng = np.random.default_rng(0)
  return Release(
    config=config,
    modules={
      "encoder": {
        path: rng.normal(scale=0.3, size=x.shape).astype(np.float32)
        for path, x in paths.flatten(shapes["params"]).items()
      }
    },
    preprocessing=Preprocessing(resize_px=56, crop_px=56),
    origin={
      "kind": "converted",
      "start": {"name": "x", "license": None},
      "preparation": "stored with the weights",
    },
    curve=None,
    license_id=None,
  )


def _tokens(folder, pixels):
  """The tokens that our encoder makes of images [N, C, H, W]."""
  initial = load_initial(folder)
  encoder = VisionTransformer(initial.config)
  params = {"params": paths.unflatten(dict(initial.encoder))}
  (output,) = jax.jit(encoder.apply)(params, pixels.transpose(0, 2, 3, 1))
  parts = [output.cls[:, None], output.registers, output.patches]
  return np.asarray(jnp.concatenate(parts, axis=1))


def test_transformers_loads_and_agrees(
  torch_python, workdir, golden_file, tmp_path
):
  assert (
    _export(f"--workdir={workdir}", f"--output={tmp_path / 'run'}").returncode
    == 0
  )
  releases = {
    "registers": _release(position_antialias=True),
    "plain": _release(num_registers=0, swiglu=True),
    "golden": release_of_weights(golden_file("hf_dinov2_with_registers")),
  }
  for name, release in releases.items():
    write_release(release, tmp_path / name, with_dinov2=False)
  rng = np.random.default_rng(1)
  images = {
    size: rng.normal(size=(2, 3, *map(int, size.split("x")))).astype(np.float32)
    for size in ("56x56", "42x70")
  }
  np.savez(tmp_path / "images.npz", **images)
  names = ["run", *releases]
  subprocess.run(
    [torch_python, SCRIPT, tmp_path / "images.npz", tmp_path / "tokens.npz"]
    + [tmp_path / name for name in names],
    check=True,
    timeout=300,
  )
  theirs = np.load(tmp_path / "tokens.npz")
  for name in names:
    for size, pixels in images.items():
      # Training resizes its table in another way than transformers does.
      if name == "run" and size != "56x56":
        continue
      np.testing.assert_allclose(
        _tokens(tmp_path / name, pixels),
        theirs[f"{name}/{size}"],
        rtol=1e-5,
        atol=1e-5,
        err_msg=f"{name} {size}",
      )
