"""A small encoder in a Hugging Face folder, with the preprocessing it wants."""

import json
import pathlib

import numpy as np
import safetensors.numpy

WIDTH, HEADS, REGISTERS, PATCH = 16, 2, 2, 4
SIDE_PX = 24


def write_encoder(
  folder: pathlib.Path, *, seed: int = 0, resize_px: int = 28
) -> pathlib.Path:
  """Writes random weights that tell patches apart; returns the folder.

  Films are resized to a short side of `resize_px`; SIDE_PX pixels are kept.
  """
  folder.mkdir(parents=True)
  rng = np.random.default_rng(seed)
  weights = {
    name: (rng.normal(size=shape) * 0.4).astype(np.float32)
    for name, shape in _shapes().items()
  }
  safetensors.numpy.save_file(weights, folder / "model.safetensors")
  config = {
    "model_type": "dinov2_with_registers",
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_hidden_layers": 2,
    "num_register_tokens": REGISTERS,
    "image_size": 4 * PATCH,
    "patch_size": PATCH,
    "mlp_ratio": 2,
  }
  (folder / "config.json").write_text(json.dumps(config))
  preprocessing = {
    "image_processor_type": "BitImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": resize_px},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": SIDE_PX, "width": SIDE_PX},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
    "do_convert_rgb": True,
  }
  path = folder / "preprocessor_config.json"
  path.write_text(json.dumps(preprocessing))
  return folder


def _shapes() -> dict[str, tuple[int, ...]]:
  """Names and shapes as transformers has them."""
  embeddings = {
    "cls_token": (1, 1, WIDTH),
    "mask_token": (1, WIDTH),
    "register_tokens": (1, REGISTERS, WIDTH),
    "position_embeddings": (1, 17, WIDTH),
    "patch_embeddings.projection.weight": (WIDTH, 3, PATCH, PATCH),
    "patch_embeddings.projection.bias": (WIDTH,),
  }
  layer = {
    "norm1.weight": (WIDTH,),
    "norm1.bias": (WIDTH,),
    "norm2.weight": (WIDTH,),
    "norm2.bias": (WIDTH,),
    "layer_scale1.lambda1": (WIDTH,),
    "layer_scale2.lambda1": (WIDTH,),
    "mlp.fc1.weight": (2 * WIDTH, WIDTH),
    "mlp.fc1.bias": (2 * WIDTH,),
    "mlp.fc2.weight": (WIDTH, 2 * WIDTH),
    "mlp.fc2.bias": (WIDTH,),
    "attention.output.dense.weight": (WIDTH, WIDTH),
    "attention.output.dense.bias": (WIDTH,),
  }
  for part in ("query", "key", "value"):
    layer[f"attention.attention.{part}.weight"] = (WIDTH, WIDTH)
    layer[f"attention.attention.{part}.bias"] = (WIDTH,)
  return {
    **{f"embeddings.{name}": shape for name, shape in embeddings.items()},
    **{
      f"encoder.layer.{i}.{name}": shape
      for i in range(2)
      for name, shape in layer.items()
    },
    "layernorm.weight": (WIDTH,),
    "layernorm.bias": (WIDTH,),
  }
