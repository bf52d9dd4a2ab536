"""A decoder together with the encoder that it learns with.

To training and generation it is a decoder like the others, except that it is
shown films where they are shown patch tokens.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from scan42_jax.data import image_ops
from scan42_jax.eval.reports.settings import MovesSettings
from scan42_jax.models.sentence_head import SentenceHead
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.types import Array, Float, Params, UInt8
from scan42_jax.weights.preprocessing import Preprocessing

ENCODER = "encoder"
"""Where the encoder's parameters lie, beside those of the decoder."""

SENTENCES = "sentences"
"""Where those of the sentence head lie, if there is one."""

_MOVES = 1  # Stream of random numbers, apart from that of dropout.


@dataclasses.dataclass(frozen=True)
class SeeingDecoder:
  """Encoder and decoder as one network.

  Attributes:
    encoder: its definition.
    decoder: has `__call__`, `prefill`, `extend` and `look` of ReportDecoder.
    preprocessing: whose mean and deviation the encoder expects.
    moves: of films in training.
    head: tells in training which sentences a report holds.
  """

  encoder: VisionTransformer
  decoder: Any
  preprocessing: Preprocessing
  moves: MovesSettings
  head: SentenceHead | None = None

  def apply(
    self,
    variables: dict[str, Params],
    seen: UInt8[Array, "N H W"] | Array,
    *rest: Any,
    method: str | None = None,
    **keywords: Any,
  ) -> Any:
    """Runs the decoder on the patch tokens of films.

    Args:
      variables: {'params': those of the decoder and, below ENCODER, those of
        the encoder}.
      seen: prepared films, or what `extend` takes first.
      *rest: for the decoder.
      method: of the decoder; 'tell' returns the logits of sentences, 'learn'
        what the decoder's call does and these logits.
      **keywords: for the decoder.
    """
    params = dict(variables["params"])
    encoder, head = params.pop(ENCODER), params.pop(SENTENCES, None)
    # Only `extend` looks at no film: its memory holds what was seen.
    if method != "extend":
      films = seen.astype(jnp.float32)
      if keywords.get("train"):
        key = jax.random.fold_in(keywords["rngs"]["dropout"], _MOVES)
        films = moved(films, key, self.moves)
      seen = self._patches(encoder, films)
    variables = {"params": params}
    if method in ("tell", "learn"):
      told = self.head.apply({"params": head}, seen)
      if method == "tell":
        return told
      return self.decoder.apply(variables, seen, *rest, **keywords), told
    return self.decoder.apply(variables, seen, *rest, method=method, **keywords)

  def _patches(
    self, params: Params, films: Float[Array, "N H W"]
  ) -> Float[Array, "N P W"]:
    how = self.preprocessing
    pixels = image_ops.normalize(films, how.mean, how.std)
    (tokens,) = self.encoder.apply({"params": params}, pixels)
    return tokens.patches


def moved(
  films: Float[Array, "N H W"], key: Array, moves: MovesSettings
) -> Float[Array, "N H W"]:
  """Turns, shifts and zooms every film by chance; black comes from outside."""
  if moves == MovesSettings():
    return films
  side = films.shape[1]

  def move(film: Float[Array, "H W"], key: Array) -> Float[Array, "H W"]:
    turn, down, right, zoom = jax.random.uniform(key, (4,), minval=-1)
    return image_ops.affine(
      film,
      angle_degrees=turn * moves.degrees,
      shift_px=(right * moves.shift * side, down * moves.shift * side),
      zoom=1 + zoom * moves.zoom,
    )

  return jax.vmap(move)(films, jax.random.split(key, len(films)))
