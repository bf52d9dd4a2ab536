"""Weights on disk, whatever kind of file or folder holds them.

Answers for which sources are accepted and for how each kind's films are
prepared. The formats themselves are read next door.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from scan42_jax.models.vit import ViTConfig
from scan42_jax.weights.dinov2 import from_dinov2
from scan42_jax.weights.dinov2_file import read_dinov2
from scan42_jax.weights.expected import check_encoder, listed, not_finite
from scan42_jax.weights.hub_cache import find_snapshot, looks_like_id
from scan42_jax.weights.huggingface import read_huggingface
from scan42_jax.weights.preprocessing import Preprocessing, read_preprocessing
from scan42_jax.weights.safetensors_file import read_safetensors
from scan42_jax.weights.workdir import read_run

Arrays = dict[str, np.ndarray]
Prepared = tuple[Preprocessing, str]  # And where that is from.

_Source = tuple[ViTConfig, Arrays, Mapping[str, Arrays], Prepared]

_RAD_DINO_BACKBONE = "backbone_compatible.safetensors"
_RAD_DINO_HEAD = "dino_head.safetensors"

# What each kind's authors evaluate with, for files that do not say.
_DINOV2 = Preprocessing(resize_px=256, crop_px=224)
_RAD_DINO = Preprocessing(
  resize_px=518, crop_px=518, mean=(0.5307,) * 3, std=(0.2583,) * 3
)
_STORED = "stored with the weights"
_DEFAULT = "the default of {}, for none is stored with the weights"


@dataclasses.dataclass(frozen=True)
class InitialWeights:
  """Weights of an encoder, and of heads where the source has them.

  Attributes:
    config: the encoder's shape, as the source states or implies it.
    encoder: float32 arrays by path below 'encoder/'.
    heads: the same by head, 'dino_head' or 'ibot_head'.
    source: the file, folder or hub id, for messages.
    preprocessing: of films.
    preprocessing_origin: where that is from, for messages.
  """

  config: ViTConfig
  encoder: Arrays
  heads: Mapping[str, Arrays]
  source: str
  preprocessing: Preprocessing
  preprocessing_origin: str


def load_initial(source: str | os.PathLike) -> InitialWeights:
  """Reads the weights of an encoder, complete and finite, or raises.

  Args:
    source: one of
      - a folder with config.json and safetensors, as transformers saves an
        encoder, CXformer's releases among them;
      - RAD-DINO's release, which adds its DINO head;
      - the id of such a folder on the Hugging Face hub, in the local cache;
      - a DINOv2 backbone or training checkpoint, `.pth` or `.safetensors`;
      - the --workdir of a run of ours, or one of its checkpoints,
        WORKDIR/checkpoints/STEP.

  Raises:
    FileNotFoundError: nothing there, or the folder lacks a file.
    ValueError: one line on what was found and what is accepted.
  """
  path, name = _find(source)
  if (path / "checkpoints").is_dir():
    config, encoder, heads, prepared = _read_workdir(path)
  elif path.parent.name == "checkpoints" and path.name.isdecimal():
    workdir, step = path.parent.parent, int(path.name)
    config, encoder, heads, prepared = _read_workdir(workdir, step=step)
  elif path.is_dir():
    config, encoder, heads, prepared = _read_folder(path)
  else:
    config, encoder, heads, prepared = _read_file(path)
  faults = [f for n, x in heads.items() for f in not_finite(x, module=n)]
  if faults:
    raise ValueError(f"{path}: {listed(faults)}")
  preprocessing, origin = prepared
  return InitialWeights(
    config=config,
    encoder=_float32(encoder),
    heads={name: _float32(arrays) for name, arrays in heads.items()},
    source=name,
    preprocessing=preprocessing,
    preprocessing_origin=origin,
  )


def _find(source: str | os.PathLike) -> tuple[pathlib.Path, str]:
  """Returns the path of a source, and what to call it."""
  path = pathlib.Path(source).expanduser()
  if path.exists():
    return path, str(source)
  if isinstance(source, str) and looks_like_id(source):
    snapshot = find_snapshot(source)
    return snapshot, f"{source} (revision {snapshot.name[:12]})"
  raise FileNotFoundError(
    f"{path}: no such file or folder; accepted: a Hugging Face folder or hub"
    " id, a DINOv2 .pth, or a work folder of this project"
  )


def _read_workdir(path: pathlib.Path, *, step: int | None = None) -> _Source:
  run = read_run(path, step=step)
  try:
    check_encoder(run.config, run.encoder)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  prepared = run_preprocessing(run.settings), "the run's settings"
  return run.config, run.encoder, run.heads, prepared


def run_preprocessing(settings: Mapping[str, Any]) -> Preprocessing:
  """Returns how a run of ours shows whole films to its encoder.

  Args:
    settings: of the run, as plain JSON.
  """
  crops = settings["crops"]
  return Preprocessing(
    resize_px=crops["global_size_px"],
    squash=True,
    mean=tuple(crops["mean"]),
    std=tuple(crops["std"]),
    equalize=settings["data"]["equalize"],
  )


def _read_folder(folder: pathlib.Path) -> _Source:
  backbone = folder / _RAD_DINO_BACKBONE
  if backbone.is_file() and not (folder / "config.json").is_file():
    return _read_file(backbone)
  config, encoder = read_huggingface(folder)
  prepared = _stored(folder) or (_DINOV2, _DEFAULT.format("DINOv2's releases"))
  return config, encoder, _released_head(folder), prepared


def _read_file(path: pathlib.Path) -> _Source:
  config, encoder, heads = read_dinov2(path)
  prepared = None
  if path.suffix == ".safetensors":
    heads = heads or _released_head(path.parent)
    prepared = _stored(path.parent)
  if prepared is None:
    prepared = _default(path, config, trained=bool(heads))
  return config, encoder, heads, prepared


def _default(
  path: pathlib.Path, config: ViTConfig, *, trained: bool
) -> Prepared:
  """How films are prepared for a DINOv2 file that does not say."""
  if path.name == _RAD_DINO_BACKBONE:
    return _RAD_DINO, _DEFAULT.format("RAD-DINO")
  if not trained:
    return _DINOV2, _DEFAULT.format("DINOv2's releases")
  side = config.image_size
  prepared = Preprocessing(resize_px=side, crop_px=side, equalize=True)
  return prepared, _DEFAULT.format("CXformer's training checkpoints")


def _stored(folder: pathlib.Path) -> Prepared | None:
  preprocessing = read_preprocessing(folder)
  return (preprocessing, _STORED) if preprocessing else None


def _released_head(folder: pathlib.Path) -> dict[str, Arrays]:
  """Reads the head that RAD-DINO's release adds, with DINOv2's names."""
  path = folder / _RAD_DINO_HEAD
  if not path.is_file():
    return {}
  try:
    return {"dino_head": from_dinov2(read_safetensors(path))}
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def _float32(arrays: Mapping[str, np.ndarray]) -> Arrays:
  return {path: np.asarray(x, np.float32) for path, x in arrays.items()}
