"""An encoder with a segmentation head, ready for films, and as files."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax.data import image_ops
from scan42_jax.encoder import Encoder, prepare_film
from scan42_jax.eval.model_files import read_model, stored_task, write_model
from scan42_jax.eval.segmenting.film_view import classes_of_film
from scan42_jax.models.segmentation import HeadSettings, SegmentationNet
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.sharding import batch_sharding, replicated
from scan42_jax.types import Array, Float, Params, UInt8

TASK = "segmentation"
_FILMS_OF_A_DEVICE = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Segmenter:
  """An encoder and a head on its patch tokens.

  Attributes:
    encoder: with films prepared for segmentation.
    head: shape of the head.
    params: of the head.
    structures: names of the classes after the background.
  """

  encoder: Encoder
  head: HeadSettings
  params: Params
  structures: tuple[str, ...]

  def segment(
    self,
    film: UInt8[np.ndarray, "_ _"],
    *,
    shape: tuple[int, int] | None = None,
    equalized: bool = False,
  ) -> UInt8[np.ndarray, "H W"]:
    """Returns the class of each pixel of a film of any size.

    Args:
      film: grey levels.
      shape: of the result; that of the film by default.
      equalized: the film is equalised already.
    """
    how = self.encoder.preprocessing
    if equalized:
      how = dataclasses.replace(how, equalize=False)
    pixels = prepare_film(film, how)
    return self.at_size(self.logits(pixels[None])[0], shape or film.shape)

  def logits(
    self, pixels: UInt8[np.ndarray, "N s s"]
  ) -> Float[np.ndarray, "N h w K"]:
    """Scores prepared films on the head's grid; split over the devices."""
    devices = self.encoder.mesh.size
    filler = np.repeat(pixels[-1:], -len(pixels) % devices, axis=0)
    placed = jax.device_put(
      np.concatenate([pixels, filler]), batch_sharding(self.encoder.mesh)
    )
    scores = self._score(self.encoder.params, self.params, placed)
    return np.asarray(scores)[: len(pixels)]

  def at_size(
    self, logits: Float[np.ndarray, "h w K"], shape: Sequence[int]
  ) -> UInt8[np.ndarray, "H W"]:
    """Brings one film's logits to the classes of its pixels."""
    how = self.encoder.preprocessing
    return classes_of_film(
      logits, tuple(shape), side=how.resize_px, whole=how.squash
    )

  @functools.cached_property
  def _score(self):
    how = self.encoder.preprocessing
    net = SegmentationNet(
      VisionTransformer(self.encoder.config, self.encoder.dtype),
      self.head,
      num_classes=1 + len(self.structures),
    )

    def score(encoder: Params, params: Params, pixels: Array) -> Array:
      images = image_ops.normalize(
        pixels.astype(jnp.float32), how.mean, how.std
      )
      return net.logits(encoder, params, images)

    return jax.jit(score, out_shardings=replicated(self.encoder.mesh))


def films_at_once(encoder: Encoder) -> int:
  """Films that are scored together; few, since whole films are in memory."""
  return _FILMS_OF_A_DEVICE * encoder.mesh.size


def save_segmenter(folder: pathlib.Path, segmenter: Segmenter) -> None:
  """Writes a segmenter into a work folder."""
  facts = {
    "task": TASK,
    "head": dataclasses.asdict(segmenter.head),
    "structures": list(segmenter.structures),
  }
  write_model(folder, segmenter.encoder, {"head": segmenter.params}, facts)


def is_segmenter(folder: pathlib.Path) -> bool:
  """Whether a work folder holds a finished segmenter."""
  return stored_task(folder) == TASK


def load_segmenter(folder: pathlib.Path) -> Segmenter:
  """Reads a segmenter from the work folder of an evaluation.

  Raises:
    FileNotFoundError: the folder holds none.
    ValueError: it is of another task, or not what was written.
  """
  encoder, parts, facts = read_model(folder, task=TASK)
  return Segmenter(
    encoder=encoder,
    head=HeadSettings(**facts["head"]),
    params=jax.device_put(parts["head"], replicated(encoder.mesh)),
    structures=tuple(facts["structures"]),
  )
