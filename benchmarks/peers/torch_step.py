"""The same pretraining step, written plainly in PyTorch: a peer to time.

Encoder from `transformers` (Dinov2WithRegisters, SDPA attention), everything
else as DINOv2 defines it: DINO on class tokens, iBOT on masked patches, KoLeo,
softmax centring, clip by module, AdamW, moving-average teacher. Reads one JSON
line of settings, then answers each line 'N' with the seconds of N steps: on
fixed random crops, or on those that PIL makes of a folder of films. Runs in an
interpreter of its own that has torch and transformers.
"""

import itertools
import json
import pathlib
import resource
import sys
import time

import torch
import torch.nn.functional as F
from pil_crops import pil_crops
from torch import nn
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel


class Head(nn.Module):
  """Projection head with weight-normalised prototypes."""

  def __init__(self, width, hidden, bottleneck, prototypes):
    super().__init__()
    self.mlp = nn.Sequential(
      nn.Linear(width, hidden),
      nn.GELU(),
      nn.Linear(hidden, hidden),
      nn.GELU(),
      nn.Linear(hidden, bottleneck),
    )
    self.last = nn.utils.parametrizations.weight_norm(
      nn.Linear(bottleneck, prototypes, bias=False)
    )

  def forward(self, x):
    return self.last(F.normalize(self.mlp(x), dim=-1))


class Network(nn.Module):
  """Encoder and both heads."""

  def __init__(self, s):
    super().__init__()
    config = Dinov2WithRegistersConfig(
      hidden_size=s["width"],
      num_hidden_layers=s["depth"],
      num_attention_heads=s["num_heads"],
      image_size=s["global_px"],
      patch_size=s["patch"],
      num_register_tokens=4,
    )
    self.encoder = Dinov2WithRegistersModel(config)
    shape = (s["width"], s["hidden"], s["bottleneck"], s["prototypes"])
    self.dino, self.ibot = Head(*shape), Head(*shape)

  def encode(self, crops, mask=None):
    tokens = self.encoder(crops, bool_masked_pos=mask).last_hidden_state
    return tokens[:, 0], tokens[:, 5:]


def main():
  """Builds the step, then times it on request."""
  s = json.loads(sys.stdin.readline())
  if s["threads"]:
    torch.set_num_threads(s["threads"])
  device = "cuda" if torch.cuda.is_available() else "cpu"
  torch.manual_seed(0)
  torch.set_float32_matmul_precision("high")
  student, teacher = Network(s).to(device), Network(s).to(device)
  teacher.load_state_dict(student.state_dict())
  teacher.requires_grad_(False)
  if s["compile"]:
    student.encoder = torch.compile(student.encoder)
    teacher.encoder = torch.compile(teacher.encoder)
  step = make_step(s, student, teacher, device)
  batches = film_crops(s) if s["films"] else random_crops(s, device)
  print(json.dumps({"device": device, "torch": torch.__version__}), flush=True)
  for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(int(line)):
      step(*(crops.to(device) for crops in next(batches)))
    if device == "cuda":
      torch.cuda.synchronize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
      peak = torch.cuda.max_memory_allocated()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak": peak}), flush=True)


def random_crops(s, device):
  """Yields the same noise for ever: global and local crops."""
  yield from itertools.repeat(
    tuple(
      torch.randn(number * s["batch"], 3, side, side, device=device)
      for number, side in ((2, s["global_px"]), (s["num_local"], s["local_px"]))
    )
  )


class Films(torch.utils.data.IterableDataset):
  """Crops of a folder of films, again and again."""

  def __init__(self, s):
    self.s = s

  def __iter__(self):
    sizes = {k: self.s[k] for k in ("global_px", "local_px", "num_local")}
    files = sorted(pathlib.Path(self.s["films"]).iterdir())
    for file in itertools.cycle(files):
      crops = pil_crops(file.read_bytes(), **sizes)
      tensors = [torch.from_numpy(x).permute(2, 0, 1) for x in crops]
      yield torch.stack(tensors[:2]), torch.stack(tensors[2:])


def film_crops(s):
  """Yields what one process beside this one makes of the films."""
  loader = torch.utils.data.DataLoader(Films(s), s["batch"], num_workers=1)
  for pair in loader:
    yield tuple(crops.transpose(0, 1).flatten(0, 1) for crops in pair)


def make_step(s, student, teacher, device):
  """Returns a function that takes one step on global and local crops."""
  b, patches = s["batch"], (s["global_px"] // s["patch"]) ** 2
  mask = torch.zeros(2 * b, patches, dtype=torch.bool, device=device)
  # Half of the crops, 10 to 50 % of their patches: 30 % on average.
  mask[::2, : round(0.3 * patches)] = True
  weight = (1 / mask.sum(1).clamp(min=1))[:, None].expand_as(mask)[mask]
  optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)
  center = torch.zeros(s["prototypes"], device=device)
  ibot_center = torch.zeros_like(center)
  half = torch.autocast(device, torch.bfloat16, enabled=s["half"])

  def cross(logits, probs):
    return -(probs * F.log_softmax(logits.float() / 0.1, -1)).sum(-1)

  def step(crops, local):
    with torch.no_grad(), half:
      cls, tokens = teacher.encode(crops)
      cls_logits = teacher.dino(cls).float()
      patch_logits = teacher.ibot(tokens[mask]).float()
    probs = F.softmax((cls_logits - center) / 0.05, -1)
    patch_probs = F.softmax((patch_logits - ibot_center) / 0.05, -1)
    with half:
      cls, tokens = student.encode(crops, mask)
      small, _ = student.encode(local)
      logits, small = student.dino(cls), student.dino(small)
      patches = student.ibot(tokens[mask])
    pairs = 2 + 2 * s["num_local"]
    first, second = probs.chunk(2)
    opposite = torch.cat([second, first])
    loss = 2 * cross(logits, opposite).mean() / pairs
    both = (first + second).repeat(s["num_local"], 1)
    loss = loss + s["num_local"] * cross(small, both).mean() / pairs
    loss = loss + (cross(patches, patch_probs) * weight).sum() / (2 * b)
    for part in cls.float().chunk(2):
      loss = loss + 0.1 * koleo(part)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for module in student.children():
      nn.utils.clip_grad_norm_(module.parameters(), 3.0)
    optimizer.step()
    with torch.no_grad():
      pairs_of = zip(teacher.parameters(), student.parameters(), strict=True)
      for ours, theirs in pairs_of:
        ours.lerp_(theirs, 0.001)
      center.lerp_(cls_logits.mean(0), 0.1)
      ibot_center.lerp_(patch_logits.mean(0), 0.1)

  return step


def koleo(x):
  """-mean log distance to the nearest neighbour."""
  x = F.normalize(x, dim=-1)
  dots = x @ x.T
  dots.fill_diagonal_(-1)
  return -(x - x[dots.argmax(1)]).norm(dim=-1).add(1e-8).log().mean()


if __name__ == "__main__":
  main()
