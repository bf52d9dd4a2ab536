"""Logits of language models by transformers, for a Python that has torch.

  python tests/weights/transformers_logits.py OUT.npz NAME=FOLDER ...

Imports nothing of this project.
"""

import sys

import numpy as np
import torch
import transformers

TOKENS = np.random.default_rng(7).integers(40, size=(2, 24))


def main(out, *folders):
  """Writes the tokens and the logits of each folder's model."""
  arrays = {"tokens": TOKENS}
  for folder in folders:
    name, path = folder.split("=", 1)
    model = transformers.AutoModelForCausalLM.from_pretrained(
      path, dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
      arrays[name] = model(torch.tensor(TOKENS)).logits.numpy()
  np.savez_compressed(out, **arrays)


if __name__ == "__main__":
  main(*sys.argv[1:])
