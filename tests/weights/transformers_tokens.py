"""Loads folders with transformers and stores what they make of images.

  python transformers_tokens.py IMAGES.npz OUTPUT.npz FOLDER...

Runs under an interpreter that has torch, which need not have jax.
"""

import pathlib
import sys

import numpy as np
import torch
from transformers import AutoModel


def main(images, output, *folders):
  """Writes FOLDER/SIZE -> tokens [N, T, D], after the final norm."""
  tokens = {}
  for folder in map(pathlib.Path, folders):
    model, loading = AutoModel.from_pretrained(folder, output_loading_info=True)
    wrong = {name: keys for name, keys in loading.items() if keys}
    assert not wrong, f"{folder.name}: {wrong}"
    model.eval()
    for size, pixels in np.load(images).items():
      with torch.no_grad():
        result = model(pixel_values=torch.from_numpy(pixels))
      tokens[f"{folder.name}/{size}"] = result.last_hidden_state.numpy()
  np.savez(output, **tokens)


if __name__ == "__main__":
  main(*sys.argv[1:])
