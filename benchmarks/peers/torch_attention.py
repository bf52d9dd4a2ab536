"""torch's scaled_dot_product_attention: a peer to time.

Reads one JSON line {shape: [N, T, heads, E], dtype}, then answers each line
with the seconds of a forward pass and of one with gradients. Runs in an
interpreter of its own with torch.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F


def main():
  """Times attention on request."""
  settings = json.loads(sys.stdin.readline())
  device = "cuda" if torch.cuda.is_available() else "cpu"
  q, k, v = (
    torch.randn(settings["shape"], device=device)
    .to(getattr(torch, settings["dtype"]))
    .transpose(1, 2)
    .requires_grad_()
    for _ in range(3)
  )

  def timed(function):
    start = time.perf_counter()
    function()
    if device == "cuda":
      torch.cuda.synchronize()
    return time.perf_counter() - start

  def forward():
    with torch.no_grad():
      F.scaled_dot_product_attention(q, k, v)

  def both():
    F.scaled_dot_product_attention(q, k, v).float().sum().backward()

  for _ in sys.stdin:
    print(json.dumps([timed(forward), timed(both)]), flush=True)


if __name__ == "__main__":
  main()
