"""An encoder with a segmentation head, ready for films, and as files.

model.npz holds float32 arrays by path, model.json all else; neither can hold
code.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scan42_jax import paths
from scan42_jax.data import image_ops
from scan42_jax.data.finished import file_sha256
from scan42_jax.encoder import Encoder, prepare_film
from scan42_jax.eval.adapted import read_encoder
from scan42_jax.eval.segmenting.film_view import classes_of_film
from scan42_jax.models.segmentation import HeadSettings, SegmentationNet
from scan42_jax.models.vit import VisionTransformer
from scan42_jax.sharding import batch_sharding, replicated
from scan42_jax.types import Array, Float, Params, UInt8

TASK = "segmentation"
_FILMS_OF_A_DEVICE = 8
_ARRAYS, _FACTS = "model.npz", "model.json"


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
  encoder = segmenter.encoder
  parts = {"encoder": encoder.params, "head": segmenter.params}
  arrays = {
    name: np.asarray(leaf, np.float32)
    for name, leaf in paths.flatten(parts).items()
  }
  beside = folder / f"{_ARRAYS}.tmp"
  with beside.open("wb") as stream:
    np.savez(stream, **arrays)
  beside.replace(folder / _ARRAYS)
  facts = {
    "task": TASK,
    "sha256": file_sha256(folder / _ARRAYS),
    "encoder": dataclasses.asdict(encoder.config),
    "preprocessing": dataclasses.asdict(encoder.preprocessing),
    "dtype": str(np.dtype(encoder.dtype)),
    "source": encoder.source,
    "head": dataclasses.asdict(segmenter.head),
    "structures": list(segmenter.structures),
  }
  beside = folder / f"{_FACTS}.tmp"
  beside.write_text(json.dumps(facts, indent=1) + "\n")
  beside.replace(folder / _FACTS)


def is_segmenter(folder: pathlib.Path) -> bool:
  """Whether a work folder holds a finished segmenter."""
  try:
    return json.loads((folder / _FACTS).read_text())["task"] == TASK
  except (OSError, ValueError, KeyError):
    return False


def load_segmenter(folder: pathlib.Path) -> Segmenter:
  """Reads a segmenter from the work folder of an evaluation.

  Raises:
    FileNotFoundError: the folder holds none.
    ValueError: its file is not what was written.
  """
  if not is_segmenter(folder) or not (folder / _ARRAYS).is_file():
    raise FileNotFoundError(
      f"{folder} holds no segmenter: give the --workdir of a finished"
      " segmentation"
    )
  facts = json.loads((folder / _FACTS).read_text())
  if file_sha256(folder / _ARRAYS) != facts["sha256"]:
    raise ValueError(f"{folder / _ARRAYS} is not what was written; run again")
  with np.load(folder / _ARRAYS, allow_pickle=False) as file:
    tree = paths.unflatten({name: file[name] for name in file.files})
  encoder = read_encoder(facts, tree["encoder"])
  return Segmenter(
    encoder=encoder,
    head=HeadSettings(**facts["head"]),
    params=jax.device_put(tree["head"], replicated(encoder.mesh)),
    structures=tuple(facts["structures"]),
  )
