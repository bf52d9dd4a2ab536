"""Films as 8-bit grey pictures: read, equalised, shrunk, encoded, decoded.

Reads whatever file holds a film, PNG and JPEG itself and DICOM through
dicom.py. Crops and augmentation happen on the device and are not found here.
"""

import contextlib
import io
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from scan42_jax.data.film import (
  MAX_FILE_BYTES,
  Film,
  RejectedFilm,
  check_size,
  stretch_truncated,
  to_uint8,
)

__all__ = [
  "Film",
  "RejectedFilm",
  "decode_film",
  "encode_film",
  "encode_mask",
  "encode_png",
  "equalize_histogram",
  "film_size",
  "read_film",
  "resize_box",
  "shrink",
]

# By content, since file names lie. The plugins are called directly because
# Image.open warns about large pictures where we refuse them.
_PLUGINS = {
  b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
  b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
}


def read_film(
  path: str | pathlib.Path,
  *,
  published: bool = False,
  short_side_px: int | None = None,
) -> Film:
  """Reads the film in a DICOM, PNG or JPEG file, told apart by content.

  8-bit pictures keep their values; deeper ones, and DICOM without a window, are
  scaled from their minimum..maximum to 0..255. Transparency is ignored and
  colour becomes luminance.

  Args:
    path: the file; its name and suffix do not matter.
    published: convert as the published run did, bugs included. PNG: 16 bits are
      clipped at 255 instead of scaled, then minimum..maximum is stretched and
      truncated to uint8. DICOM: no modality LUT or rescale; YBR pictures are
      inverted; MONOCHROME1 is inverted by maximum - x after the window; then
      stretched and truncated alike. A constant film is all 0.
    short_side_px: the film will be shrunk to this short side, so where it is
      at least twice as large a JPEG may be decoded at a half, a quarter or an
      eighth of its size, and values of a DICOM may be averaged over blocks;
      None decodes in full.

  Returns:
    The film. PNG and JPEG have no header, so only its pixels are known.

  Raises:
    RejectedFilm: the file gives no film; the message says why.
  """
  data = _read_bytes(path)
  if data.startswith(tuple(_PLUGINS)) and data[128:132] != b"DICM":
    return Film(
      pixels=_picture_pixels(
        data, published=published, short_side_px=short_side_px
      )
    )
  # Here and not above: the workers that only decode shards need no pydicom.
  from scan42_jax.data import dicom

  if not dicom.is_dicom(data):
    raise RejectedFilm("neither DICOM, PNG nor JPEG")
  return dicom.read_dicom(
    data, published=published, short_side_px=short_side_px
  )


def equalize_histogram(pixels: np.ndarray) -> np.ndarray:
  """Global histogram equalisation, value for value that of OpenCV.

  lut[v] = round((cdf(v) - n0) * 255 / (N - n0)) where n0 counts the darkest
  value present and N all pixels, in float32. A constant film stays as it is.

  Args:
    pixels: uint8 [H, W].

  Returns:
    uint8 [H, W].
  """
  picture = Image.fromarray(pixels)
  counts = np.array(picture.histogram())
  darkest = counts[counts.nonzero()[0][0]]
  if darkest == pixels.size:
    return pixels
  # OpenCV's own order of float32 operations: others round differently.
  scale = np.float32(255) / np.float32(pixels.size - darkest)
  lut = np.rint((counts.cumsum() - darkest).astype(np.float32) * scale)
  return np.asarray(picture.point(lut.clip(0, 255).astype(int).tolist()))


def shrink(pixels: np.ndarray, *, short_side_px: int = 1024) -> np.ndarray:
  """Scales a film down, antialiased; a smaller one is returned as it is.

  Films at least twice too large are first averaged over blocks. Crops of the
  result differ from crops of the full film by 0.65 grey levels RMS, with a
  bicubic filter over the full film by 0.53 in three times the time; the JPEG of
  the stored film alone makes 0.5. Lanczos rings at metal edges.

  Args:
    pixels: uint8 [H, W].
    short_side_px: largest length of the shorter side, in pixels.

  Returns:
    uint8 [h, w] of the same aspect ratio.
  """
  scale = short_side_px / min(pixels.shape)
  if scale >= 1:
    return pixels
  height, width = (round(side * scale) for side in pixels.shape)
  picture = Image.fromarray(pixels)
  return np.asarray(
    picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1.0)
  )


def resize_box(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Resizes uint8 [H, W] to (height, width), averaging what falls together."""
  picture = Image.fromarray(pixels)
  return np.asarray(picture.resize(shape[::-1], Image.Resampling.BOX))


def encode_film(pixels: np.ndarray, *, quality: int = 95) -> bytes:
  """Encodes uint8 [H, W] as a grey JPEG; the published run had quality 75."""
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
  return stream.getvalue()


def encode_mask(mask: np.ndarray) -> bytes:
  """Encodes bool [H, W] as a grey PNG of 0 and 255."""
  return encode_png(mask.astype(np.uint8) * 255)


def encode_png(pixels: np.ndarray) -> bytes:
  """Encodes uint8 [H, W] as a grey PNG."""
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, "PNG")
  return stream.getvalue()


def film_size(encoded: bytes) -> tuple[int, int]:
  """Returns height and width of an encoded film, decoding nothing.

  Raises:
    RejectedFilm: the bytes are damaged or no picture.
  """
  picture = _open(encoded)
  return picture.height, picture.width


def decode_film(encoded: bytes) -> np.ndarray:
  """Decodes a PNG or JPEG to uint8 [H, W]; the inverse of `encode_film`.

  Raises:
    RejectedFilm: the bytes are damaged or no picture.
  """
  return _picture_pixels(encoded)


def _read_bytes(path: str | pathlib.Path) -> bytes:
  path = pathlib.Path(path)
  try:
    size = path.stat().st_size
    if not path.is_file() or not 0 < size <= MAX_FILE_BYTES:
      raise RejectedFilm(
        f"no file of 1 to {MAX_FILE_BYTES} bytes (it has {size})"
      )
    return path.read_bytes()
  except OSError as error:
    raise RejectedFilm(f"cannot be opened: {error.strerror}") from None


def _picture_pixels(
  data: bytes, *, published: bool = False, short_side_px: int | None = None
) -> np.ndarray:
  picture = _load(data, short_side_px)
  if picture.mode.startswith("I"):  # 16 bits; Pillow's "L" would clip at 255
    values = np.asarray(picture)
    if not published:
      return to_uint8(values, low=values.min(), high=values.max())
    pixels = np.minimum(values, 255).astype(np.uint8)
  else:
    pixels = np.asarray(picture.convert("L"))
  if published and picture.format == "PNG":
    return stretch_truncated(pixels)
  return pixels


def _load(data: bytes, short_side_px: int | None) -> Image.Image:
  picture = _open(data)
  if short_side_px and isinstance(picture, JpegImagePlugin.JpegImageFile):
    picture.draft(picture.mode, (short_side_px, short_side_px))
  with _refused_damage():
    picture.load()
  return picture


def _open(data: bytes) -> Image.Image:
  plugin = next(
    (plugin for magic, plugin in _PLUGINS.items() if data.startswith(magic)),
    None,
  )
  if plugin is None:
    raise RejectedFilm("neither DICOM, PNG nor JPEG")
  with _refused_damage():
    picture = plugin(io.BytesIO(data))
    check_size(picture.height, picture.width)
  return picture


@contextlib.contextmanager
def _refused_damage() -> Iterator[None]:
  try:
    yield
  except RejectedFilm:
    raise
  # Damaged bytes make decoders raise nearly anything; the text of their errors
  # is kept out because it may quote the file.
  except Exception as error:
    raise RejectedFilm(
      f"damaged or truncated picture ({type(error).__name__})"
    ) from None
