"""Films to features by a frozen encoder, sharded over the mesh."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from scan42_jax.data import image_ops
from scan42_jax.data.pipeline import evaluation_films
from scan42_jax.data.sources import FilmSource
from scan42_jax.datasets.labels import label_targets
from scan42_jax.eval.tokens import pooled_tokens
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.sharding import BATCH_AXES, batch_sharding, replicated
from scan42_jax.types import Array, Bool, Films, Float, Params, UInt8


@dataclasses.dataclass(frozen=True)
class LabelledFeatures:
  """Features of a split, with what is known of each film.

  Attributes:
    features: class token, then the mean patch token.
    labels: 0 or 1.
    valid: labels that are known.
    patients: patient ids, '' if unknown.
    label_names: names of the labels.
  """

  features: Float[np.ndarray, "N F"]
  labels: Float[np.ndarray, "N C"]
  valid: Bool[np.ndarray, "N C"]
  patients: Sequence[str]
  label_names: Sequence[str]

  @property
  def cls(self) -> Float[np.ndarray, "N D"]:
    """The class tokens alone."""
    return self.features[:, : self.features.shape[1] // 2]


def whole_film(films: Films, *, size_px: int) -> Float[Array, "B s s"]:
  """Each film resized to a square, grey levels 0..255.

  Nothing is cut off, for findings lie at the borders as well; training has
  shown the encoder other aspect ratios.
  """

  def view(pixels, height, width):
    window = image_ops.Window(
      jnp.zeros_like(height), jnp.zeros_like(width), height, width
    )
    return image_ops.resized_crop(
      pixels.astype(jnp.float32), window, out_px=size_px
    )

  return jax.vmap(view)(films.pixels, films.height, films.width)


def make_feature_function(
  encoder: VisionTransformer,
  mesh: Mesh,
  *,
  size_px: int,
  mean: Sequence[float],
  std: Sequence[float],
) -> Callable[[Params, Films], Float[Array, "B F"]]:
  """Compiles films to [class token, mean patch token], in float32."""

  def features(params: Params, films: Films) -> Float[Array, "B F"]:
    images = image_ops.normalize(whole_film(films, size_px=size_px), mean, std)
    return pooled_tokens(encoder, params, images)

  return jax.jit(features, out_shardings=replicated(mesh))


def extract(
  feature_function: Callable[[Params, Films], Float[Array, "B F"]],
  params: Params,
  batches: Iterable[tuple[Films, list[dict[str, Any]]]],
  *,
  mesh: Mesh,
) -> tuple[Float[np.ndarray, "N F"], list[dict[str, Any]]]:
  """Runs over all batches; every process sees every film.

  Returns:
    Features, and the examples without their pictures.
  """
  rows, known = [], []
  for films, examples in batches:
    films = place(films, batch_sharding(mesh))
    rows.append(np.asarray(feature_function(params, films))[: len(examples)])
    known += [
      {k: v for k, v in example.items() if k not in ("image", "masks")}
      for example in examples
    ]
  return np.concatenate(rows), known


def place(films: Films, sharding: jax.sharding.Sharding) -> Films:
  """Puts films that every process holds whole onto the mesh."""
  return jax.tree.map(
    lambda x: jax.make_array_from_callback(
      x.shape, sharding, lambda index, x=x: x[index]
    ),
    films,
  )


class FilmReader:
  """Turns splits into features with one compiled encoder.

  Args:
    encoder: its definition.
    mesh: films are split over it.
    canvas_px: side of the canvas.
    size_px: side of the view that the encoder sees.
    mean: of its input, per channel.
    std: of its input, per channel.
    equalize: equalise films on reading.
  """

  def __init__(
    self,
    encoder: VisionTransformer,
    mesh: Mesh,
    *,
    canvas_px: int,
    size_px: int,
    mean: Sequence[float],
    std: Sequence[float],
    equalize: bool,
  ):
    self._encoder, self._mesh = encoder, mesh
    self._size_px, self._statistics = size_px, (mean, std)
    self._canvas_px, self._equalize = canvas_px, equalize
    self._features = make_feature_function(
      encoder, mesh, size_px=size_px, mean=mean, std=std
    )

  def read(
    self, params: Params, source: FilmSource, *, limit: int | None = None
  ) -> LabelledFeatures:
    """Encodes the first `limit` films; shards hold them in random order."""
    devices = math.prod(self._mesh.shape[axis] for axis in BATCH_AXES)
    batch_size = 16 * devices
    batches = evaluation_films(
      source,
      canvas_px=self._canvas_px,
      equalize=self._equalize,
      batch_size=batch_size,
    )
    if limit is not None:
      batches = itertools.islice(batches, -(-limit // batch_size))
    features, examples = extract(
      self._features, params, batches, mesh=self._mesh
    )
    raw = np.stack([example["labels"] for example in examples])
    labels, valid = label_targets(raw, source.label_names)
    return LabelledFeatures(
      features=features[:limit],
      labels=labels[:limit],
      valid=valid[:limit],
      patients=[example["patient_id"] for example in examples][:limit],
      label_names=source.label_names,
    )

  def look(
    self, params: Params, source: FilmSource, *, count: int
  ) -> tuple[UInt8[np.ndarray, "N s s"], Float[np.ndarray, "N h w D"]]:
    """Returns the first films as the encoder sees them, and their patches.

    Few films: every device takes all of them.
    """
    batches = evaluation_films(
      source,
      canvas_px=self._canvas_px,
      equalize=self._equalize,
      batch_size=min(count, len(source)),
    )
    films, _ = next(batches)
    films = place(films, replicated(self._mesh))
    views, patches = self._patches(params, films)
    side = self._size_px // self._encoder.config.patch_size
    views = np.asarray(views).clip(0, 255).astype(np.uint8)
    return views, np.asarray(patches).reshape(len(views), side, side, -1)

  @functools.cached_property
  def _patches(self):
    mean, std = self._statistics

    def see(params, films):
      views = whole_film(films, size_px=self._size_px)
      images = image_ops.normalize(views, mean, std)
      (output,) = self._encoder.apply({"params": params}, images)
      return views, output.patches.astype(jnp.float32)

    return jax.jit(see, out_shardings=replicated(self._mesh))
