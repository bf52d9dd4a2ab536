"""Reads reference numbers: npz files with DINOv2's names and layouts."""

import json
import pathlib

import numpy as np

from scan42_jax import paths
from scan42_jax.models.vit import ViTConfig
from scan42_jax.weights.dinov2 import from_dinov2


def load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict]:
  """Returns the arrays of a file and its `meta`."""
  with np.load(path) as file:
    arrays = {name: file[name] for name in file.files if name != "meta"}
    return arrays, json.loads(str(file["meta"]))


def strip(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
  """Returns the arrays below a prefix, named without it."""
  return {
    name.removeprefix(prefix): value
    for name, value in arrays.items()
    if name.startswith(prefix)
  }


def tree(arrays: dict[str, np.ndarray]) -> dict:
  """Turns one module's DINOv2 weights into our parameter tree."""
  return paths.unflatten(from_dinov2(arrays))


def vit_config(settings: dict, **changes) -> ViTConfig:
  """Turns a file's encoder settings into ours."""
  return ViTConfig(
    width=settings["embed_dim"],
    depth=settings["depth"],
    num_heads=settings["num_heads"],
    patch_size=settings["patch_size"],
    num_registers=settings["num_register_tokens"],
    image_size=settings["img_size"],
    swiglu=settings.get("ffn_layer", "mlp").startswith("swiglu"),
    **changes,
  )


def channels_last(images: np.ndarray) -> np.ndarray:
  """[N, C, H, W] -> [N, H, W, C]."""
  return images.transpose(0, 2, 3, 1)
