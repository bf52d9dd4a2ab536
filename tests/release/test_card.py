"""The model card: what is known is told, what is not is said to be unknown."""

import dataclasses
import re

import numpy as np
import pytest

from scan42_jax.models.vit import VIT_SHAPES, ViTConfig
from scan42_jax.release.card import render
from scan42_jax.release.sources import Release
from scan42_jax.settings import Settings, to_json
from scan42_jax.weights.preprocessing import Preprocessing

ORIGIN = {
  "kind": "run",
  "network": "teacher",
  "step": 30_550,
  "peak_learning_rate": 3e-4,
  "settings": to_json(Settings()),
  "start": {"name": "facebook/dinov2-small", "license": "apache-2.0"},
  "data": [
    {"name": "chexpert", "split": "train", "films": 223_414},
    {"name": "our_films", "split": "train", "films": None},
  ],
  "held_out": {
    "step": 30_000,
    "dataset": "chexpert",
    "split": "validation",
    "films_at_most": 2000,
    "values": {"knn_auroc": 0.71234},
  },
  "linear_probe": None,
  "preparation": "the run's settings",
}
RELEASE = Release(
  config=ViTConfig(**VIT_SHAPES["S"]),
  modules={"encoder": {"cls_token": np.zeros((1, 384), np.float32)}},
  preprocessing=Preprocessing(resize_px=518, squash=True, equalize=True),
  origin=ORIGIN,
  curve=b"png",
  license_id=None,
)


def _card(dinov2_file=None, origin=None, **changes):
  changes["origin"] = {**ORIGIN, **(origin or {})}
  release = dataclasses.replace(RELEASE, **changes)
  return render(release, dinov2_file=dinov2_file)


def _front_matter(card):
  match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
  return dict(re.findall(r"^(\w+): (\S+)$", match[1], re.MULTILINE))


def test_front_matter():
  assert _front_matter(_card(license_id="cc-by-4.0")) == {
    "license": "cc-by-4.0",
    "library_name": "transformers",
    "pipeline_tag": "image-feature-extraction",
    "base_model": "facebook/dinov2-small",
  }
  other = _card(origin={"start": {"name": "x.pth", "license": None}})
  assert "base_model" not in _front_matter(other)
  assert _front_matter(other)["license"] == "unknown"


@pytest.mark.parametrize(
  "line",
  [
    "# Chest X-ray encoder, ViT-S/14 with 4 registers",
    "**Not for clinical use.**",
    "the teacher after step 30,550 of 61,100",
    "| parameters | 384 |",
    "tokens[:, 5:]",
    "histogram equalised, whole film to 518 x 518 px",
    "(the run's settings). The image processor of transformers does not",
    "offset 0.1, without antialias as these weights expect it",
    "| `chexpert` | train | 223,414 | Stanford University",
    "| `our_films` | train | unknown | unknown |",
    "Starting weights: `facebook/dinov2-small`, licence apache-2.0.",
    "| films shown | 31,283,200 |",
    "| learning rate | 0 to 0.0003 in 6,110 steps, then cosine to 1e-06 |",
    "| teacher temperature | 0.04 to 0.07 in 18,330 steps |",
    "| prototypes | DINO 131,072, iBOT 131,072 |",
    '| `objective.teacher` | `"softmax_centering"` |',
    "![Training curve](training_curve.png)",
    "held-out films of `chexpert` (validation), teacher at step 30,000",
    "| knn_auroc | 0.7123 |",
    "- Weights: unknown, none was stated.",
    "- Data `our_films`: unknown; ask its owners.",
  ],
)
def test_lines_of_a_run(line):
  assert line in _card()


def test_what_is_unknown_is_said_to_be():
  card = _card(curve=None, origin={"held_out": None})
  assert "Unknown: no metrics.jsonl" in card and "training_curve" not in card
  assert "Quality on held-out films: unknown." in card


def test_linear_probe_is_told():
  probe = {"untrained": 0.5, "trained": 0.6, "gain": 0.1}
  probe |= {"gain_low": 0.05, "gain_high": 0.15}
  probe |= {"test_films": 1012, "test_patients": 531}
  card = _card(origin={"linear_probe": probe})
  assert "on 1,012 test films of 531 patients: 0.600; 0.500 with" in card


def test_weights_from_elsewhere_claim_no_recipe():
  origin = {name: ORIGIN[name] for name in ("start", "preparation")}
  origin["kind"] = "converted"
  release = dataclasses.replace(RELEASE, origin=origin, curve=None)
  card = render(release, dinov2_file=None)
  assert "Data and recipe are unknown here" in card
  assert "## Recipe" not in card and "Training curve" not in card


@pytest.mark.parametrize(
  "registers, antialias, alike",
  [(4, True, True), (4, False, False), (0, False, True), (0, True, False)],
)
def test_position_resize_is_compared_with_transformers(
  registers, antialias, alike
):
  config = dataclasses.replace(
    RELEASE.config,
    num_registers=registers,
    position_offset=0.0,
    position_antialias=antialias,
  )
  card = _card(config=config)
  assert ("by transformers and scan42_jax alike" in card) == alike
  assert ("therefore differ there" in card) != alike


def test_file_with_the_heads_is_listed():
  head = {"prototypes/gain": np.ones(3, np.float32)}
  modules = {**RELEASE.modules, "dino_head": head}
  card = _card("dinov2.safetensors", modules=modules)
  assert "`dinov2.safetensors` | DINOv2's names: backbone, dino_head" in card
  assert "dinov2.safetensors" not in _card()
  # Heads do not count as parameters of the encoder.
  assert "| parameters | 384 |" in card


def test_other_shapes_have_no_size_in_their_name():
  config = ViTConfig(width=96, depth=3, num_heads=3, num_registers=0)
  assert "# Chest X-ray encoder, ViT/14\n" in _card(config=config)


def test_tables_are_whole():
  rows = [line for line in _card().splitlines() if line.startswith("|")]
  assert len(rows) > 80
  assert {row.count(" |") for row in rows} <= {2, 4}
