"""The encoder that is judged, and what is known of how it came to be."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp

from scan42_jax.data.sources import FilmSource
from scan42_jax.encoder import Encoder, load_encoder
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.sharding import replicated

RANDOM = "random:"
"""Before a source: its shape and preprocessing, with fresh weights."""


def open_encoder(source: str, *, dtype: str, seed: int) -> Encoder:
  """Loads what --encoder names.

  Args:
    source: whatever `load_encoder` takes; 'random:SOURCE' is the row that every
      table needs, an encoder of that shape that has learnt nothing.
    dtype: of activations.
    seed: of fresh weights.

  Raises:
    FileNotFoundError, ValueError: see `load_encoder`.
  """
  if not source.startswith(RANDOM):
    return load_encoder(source, dtype=dtype)
  encoder = load_encoder(source.removeprefix(RANDOM), dtype=dtype)
  patch = encoder.config.patch_size
  fresh = VisionTransformer(encoder.config).init(
    jax.random.key(seed), jnp.zeros((1, patch, patch, 3))
  )
  return dataclasses.replace(
    encoder,
    params=jax.device_put(fresh["params"], replicated(encoder.mesh)),
    source=f"random weights in the shape of {encoder.source}",
  )


def leakage_note(source: str, test: FilmSource) -> str:
  """Says whether the test films' patients were in pretraining.

  Only runs of this project say what they were trained on.
  """
  if source.startswith(RANDOM):
    return "The encoder is random: it has seen no film."
  path = pathlib.Path(source).expanduser() / "config.json"
  try:
    data = json.loads(path.read_text())["data"]
    names, split = data["datasets"], data["split"]
    lists = data.get("exclusions", ())
  except (OSError, ValueError, KeyError, TypeError):
    return (
      "Whether the test films' patients were in pretraining is unknown: the"
      " weights do not say what they were trained on."
    )
  trained = f"split {split!r} of {', '.join(names)}"
  left_out = f", without the films listed in {', '.join(lists)}" * bool(lists)
  if test.name in names and split == test.split and not lists:
    return f"The test films WERE in pretraining, which was on {trained}."
  if test.name in names:
    return (
      f"Pretraining was on {trained}{left_out}: other patients of the release"
      " that the test films are from."
    )
  return (
    f"Pretraining was on {trained}{left_out}; patients of {test.name} may be"
    " among them under other names, which `scan42_jax.data.leakage` finds."
  )
