"""An encoder with its weights: films in, features out.

What most users need of this package. Batches, compiles and splits the work over
devices by itself; knows nothing of any task.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from scan42_jax import paths
from scan42_jax.data import image_ops
from scan42_jax.data.any_film import AnyFilm, grey_film, is_film, resize
from scan42_jax.data.film import RejectedFilm
from scan42_jax.data.images import equalize_histogram
from scan42_jax.models.vit import VisionTransformer, ViTConfig
from scan42_jax.sharding import batch_sharding, make_mesh, replicated
from scan42_jax.types import Array, EncoderOutput, Float, Params, UInt8
from scan42_jax.weights.initial import load_initial
from scan42_jax.weights.preprocessing import Preprocessing

_FILMS_OF_A_DEVICE = 8  # Encoded together unless the caller says otherwise.


@dataclasses.dataclass(frozen=True, eq=False)
class EncoderFeatures:
  """What an encoder says of films, after its final norm, in float32.

  Attributes:
    cls: class token.
    registers: register tokens; R is 0 for encoders without.
    patches: one token for each patch, in the film's rows and columns.
  """

  cls: Float[np.ndarray, "N D"]
  registers: Float[np.ndarray, "N R D"]
  patches: Float[np.ndarray, "N h w D"]


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
  """A frozen encoder, ready for films.

  Attributes:
    config: its shape.
    params: its float32 parameters, on every device of the mesh.
    preprocessing: how films are prepared for it.
    source: where the weights are from, for messages.
    preprocessing_origin: where the preprocessing is from, for messages.
    dtype: of activations.
    mesh: devices that films are split over.
  """

  config: ViTConfig
  params: Params = dataclasses.field(repr=False)
  preprocessing: Preprocessing
  source: str
  preprocessing_origin: str
  dtype: jnp.dtype
  mesh: Mesh

  def __str__(self) -> str:
    """One line: whose weights, their shape, how films are prepared."""
    c = self.config
    return (
      f"{self.source}: ViT of width {c.width}, depth {c.depth}, {c.num_heads}"
      f" heads, patch {c.patch_size}, {c.num_registers} registers; films:"
      f" {self.preprocessing} ({self.preprocessing_origin})"
    )

  @property
  def net(self) -> VisionTransformer:
    """Its definition, for what takes `params` and pixels itself."""
    return VisionTransformer(self.config, self.dtype)

  def with_preprocessing(self, **changes: Any) -> Encoder:
    """Returns the encoder with films prepared in another way.

    Args:
      **changes: attributes of `Preprocessing`.
    """
    return dataclasses.replace(
      self,
      preprocessing=dataclasses.replace(self.preprocessing, **changes),
      preprocessing_origin="changed by the caller",
    )

  def __call__(
    self, films: AnyFilm | Iterable[AnyFilm], *, batch_size: int | None = None
  ) -> EncoderFeatures:
    """Encodes one film or several, of any sizes.

    Args:
      films: one, or an iterable: paths of DICOM, PNG or JPEG, Pillow images,
        arrays [H, W] or [H, W, 3]; see `grey_film`.
      batch_size: films that are encoded together. If given, every batch is
        filled up to it, so that how many films there are changes no number.

    Returns:
      Features in the order of the films, all held in memory.

    Raises:
      RejectedFilm: a film that gives no picture; names it.
      ValueError: no films, or a size that the encoder cannot take.
    """
    films = [films] if is_film(films) else list(films)
    size = self._batch_size(len(films), batch_size)
    how = self.preprocessing
    encode = functools.partial(
      _encode_films, self.net, self.params, (how.mean, how.std)
    )
    return self._run(encode, self._prepared(films, size), size)

  def prepare(
    self, films: AnyFilm | Iterable[AnyFilm]
  ) -> Float[Array, "N H W C"]:
    """Returns what `__call__` shows the encoder, for `encode`."""
    films = [films] if is_film(films) else list(films)
    (pixels,) = self._prepared(films, len(films))
    how = self.preprocessing
    return image_ops.normalize(pixels.astype(np.float32), how.mean, how.std)

  def encode(
    self,
    pixels: Float[np.ndarray | Array, "N H W C"],
    *,
    batch_size: int | None = None,
  ) -> EncoderFeatures:
    """Encodes pictures that are prepared and standardised already.

    Args:
      pixels: three channels; sides are multiples of the patch size.
      batch_size: see `__call__`.

    Raises:
      ValueError: another shape.
    """
    if pixels.ndim != 4 or pixels.shape[3] != 3:
      raise ValueError(f"pixels of shape {pixels.shape} are not [N, H, W, 3]")
    self._check_sides(pixels.shape[1:3])
    size = self._batch_size(len(pixels), batch_size)
    pixels = np.asarray(pixels, np.float32)
    starts = range(0, len(pixels), size)
    encode = functools.partial(_encode, self.net, self.params)
    return self._run(encode, (pixels[s : s + size] for s in starts), size)

  def _batch_size(self, count: int, wanted: int | None) -> int:
    """Returns a multiple of the devices that splits `count` films."""
    if not count:
      raise ValueError("no films")
    if wanted is not None and wanted < 1:
      raise ValueError(f"batch_size={wanted} is not positive")
    devices = self.mesh.size
    size = wanted or min(count, _FILMS_OF_A_DEVICE * devices)
    return -(-size // devices) * devices

  def _prepared(
    self, films: Sequence[AnyFilm], size: int
  ) -> Iterator[UInt8[np.ndarray, "N H W"]]:
    """Yields batches, whose pictures must all have one shape."""
    first = None

    def prepare(number: int) -> np.ndarray:
      film = films[number]
      try:
        return prepare_film(grey_film(film), self.preprocessing)
      except RejectedFilm as error:
        is_path = isinstance(film, str | os.PathLike)
        name = film if is_path else f"film {number + 1} of {len(films)}"
        raise RejectedFilm(f"{name}: {error}", kind=error.kind) from None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      for start in range(0, len(films), size):
        numbers = range(start, min(start + size, len(films)))
        pictures = list(pool.map(prepare, numbers))
        first = first or pictures[0].shape
        self._check_sides(first)
        for number, picture in zip(numbers, pictures, strict=True):
          if picture.shape != first:
            raise ValueError(
              f"film {number + 1} of {len(films)} becomes"
              f" {_text(picture.shape)}, the first one {_text(first)}: crop or"
              " squash them, or encode films of one shape at a time"
            )
        yield np.stack(pictures)

  def _check_sides(self, shape: tuple[int, int]) -> None:
    patch = self.config.patch_size
    if min(shape) < patch or any(side % patch for side in shape):
      raise ValueError(
        f"pictures of {_text(shape)} cannot be encoded: both sides must be"
        f" multiples of the patch size {patch}"
      )

  def _run(
    self,
    encode: Callable[[Array], EncoderOutput],
    batches: Iterable[np.ndarray],
    size: int,
  ) -> EncoderFeatures:
    """Encodes batches; the host prepares one while devices are at another."""
    parts, pending = [], []
    for batch in batches:
      filler = np.repeat(batch[-1:], size - len(batch), axis=0)
      placed = jax.device_put(
        np.concatenate([batch, filler]), batch_sharding(self.mesh)
      )
      output = encode(placed)
      parts += [_fetch(*waiting) for waiting in pending]
      pending = [(output, len(batch))]
    parts += [_fetch(*waiting) for waiting in pending]
    grid = tuple(side // self.config.patch_size for side in batch.shape[1:3])
    cls, registers, patches = (
      np.concatenate(tokens) for tokens in zip(*parts, strict=True)
    )
    return EncoderFeatures(
      cls, registers, patches.reshape(len(patches), *grid, -1)
    )


def load_encoder(
  source: str | os.PathLike,
  *,
  dtype: str = "float32",
  preprocessing: Preprocessing | None = None,
) -> Encoder:
  """Loads an encoder with its weights and the preprocessing stored with them.

  Args:
    source: a Hugging Face folder or the id of one in the local cache, a DINOv2
      backbone or training checkpoint, RAD-DINO's or CXformer's release, or the
      work folder of a run; see `load_initial`.
    dtype: of activations, 'float32', 'bfloat16' or 'float16'; parameters stay
      float32.
    preprocessing: of films, instead of the stored one.

  Returns:
    The encoder, on all local devices.

  Raises:
    FileNotFoundError: no such source; says how to get a hub id.
    ValueError: it does not hold one whole encoder; lists what is wrong.
  """
  if dtype not in ("float32", "bfloat16", "float16"):
    raise ValueError(f"dtype {dtype!r} is none of float32, bfloat16, float16")
  weights = load_initial(source)
  mesh = make_mesh((-1, 1, 1), jax.local_devices())
  params = {}
  # One after the other, each freed on the host, so that memory holds one copy.
  for path in list(weights.encoder):
    params[path] = jax.block_until_ready(
      jax.device_put(weights.encoder.pop(path), replicated(mesh))
    )
  return Encoder(
    config=weights.config,
    params=paths.unflatten(params),
    preprocessing=preprocessing or weights.preprocessing,
    source=weights.source,
    preprocessing_origin="given by the caller"
    if preprocessing
    else weights.preprocessing_origin,
    dtype=jnp.dtype(dtype),
    mesh=mesh,
  )


@functools.partial(jax.jit, static_argnums=0)
def _encode(
  net: VisionTransformer,
  params: Params,
  pixels: Float[Array, "N H W C"],
) -> EncoderOutput:
  (output,) = net.apply({"params": params}, pixels)
  return jax.tree.map(lambda tokens: tokens.astype(jnp.float32), output)


@functools.partial(jax.jit, static_argnums=0)
def _encode_films(
  net: VisionTransformer,
  params: Params,
  mean_std: tuple[Sequence[float], Sequence[float]],
  films: UInt8[Array, "N H W"],
) -> EncoderOutput:
  pixels = image_ops.normalize(films.astype(jnp.float32), *mean_std)
  return _encode(net, params, pixels)


def prepare_film(
  pixels: UInt8[np.ndarray, "H W"], how: Preprocessing
) -> UInt8[np.ndarray, "h w"]:
  """Equalises, resizes and crops a film; it is not standardised yet."""
  if how.equalize:
    pixels = equalize_histogram(pixels)
  side = how.resize_px
  if how.squash:
    pixels = resize(pixels, (side, side))
  else:
    # The longer side is cut to whole pixels, not rounded, as transformers does.
    short = min(pixels.shape)
    pixels = resize(pixels, tuple(side * n // short for n in pixels.shape))
  if how.crop_px is None:
    return pixels
  top, left = ((n - how.crop_px) // 2 for n in pixels.shape)
  return pixels[top : top + how.crop_px, left : left + how.crop_px]


def _fetch(output: EncoderOutput, count: int) -> tuple[np.ndarray, ...]:
  """Brings the true rows of a batch to the host."""
  return tuple(
    np.asarray(tokens)[:count]
    for tokens in (output.cls, output.registers, output.patches)
  )


def _text(shape: tuple[int, int]) -> str:
  return f"{shape[0]} x {shape[1]} px"
