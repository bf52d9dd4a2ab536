"""Features of a Hugging Face folder by `transformers`: a peer to time.

Reads one JSON line {folder, threads}, then answers each line
{pixels: file of an array [N, H, W, 3]} with the seconds of one forward pass
without gradients. Runs in an interpreter of its own with torch and
transformers.
"""

import json
import sys
import time

import numpy as np
import torch
import transformers


def main():
  """Loads the encoder, then times it on request."""
  settings = json.loads(sys.stdin.readline())
  torch.set_grad_enabled(False)
  if settings["threads"]:
    torch.set_num_threads(settings["threads"])
  model = transformers.AutoModel.from_pretrained(settings["folder"]).eval()
  about = {
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "threads": torch.get_num_threads(),
    "attention": model.config._attn_implementation,
  }
  print(json.dumps(about), flush=True)
  for line in sys.stdin:
    pixels = np.load(json.loads(line)["pixels"]).transpose(0, 3, 1, 2)
    pixels = torch.from_numpy(np.ascontiguousarray(pixels))
    start = time.perf_counter()
    tokens = model(pixels).last_hidden_state
    seconds = time.perf_counter() - start
    answer = {"seconds": seconds, "cls": tokens[0, 0].tolist()}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
  main()
