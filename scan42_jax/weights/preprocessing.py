"""What an encoder wants done to a film before it sees it.

Read from a Hugging Face folder's preprocessor_config.json and written to it.
Only the description is here; films are prepared by it in encoder.py.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from typing import Any

from scan42_jax.weights.huggingface_config import read_json

FILE = "preprocessor_config.json"
"""Where Hugging Face keeps it, beside config.json."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Channels = tuple[float, float, float]

_OWN_KEY = "scan42"  # Holds what transformers has no key for.
_BICUBIC = 3  # Pillow's number of it.
_BYTE = 1 / 255

# Image processors by class, and whether they equalise histograms first. The one
# with code of its own is CXformer's; its code is known and never run.
_PROCESSORS = {
  "BitImageProcessor": False,
  "BitImageProcessorFast": False,
  "BitImageProcessorPil": False,
  "CustomBitImageProcessor": True,
}


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """The way from a grey film of any size to an encoder's input.

  Equalise, resize (bicubic, antialiased, as Pillow does), crop, scale to 0..1,
  standardise; each step as the attributes say.

  Attributes:
    resize_px: the shorter side afterwards, or both sides when `squash`, pixels.
    crop_px: side of the square cut from the middle; None cuts nothing off.
    squash: the whole film becomes a square, whatever its aspect ratio.
    mean: of the encoder's input by channel, in units of 0..1.
    std: of the encoder's input by channel, in units of 0..1.
    equalize: equalise the histogram of the whole film before all else.
  """

  resize_px: int
  crop_px: int | None = None
  squash: bool = False
  mean: Channels = IMAGENET_MEAN
  std: Channels = IMAGENET_STD
  equalize: bool = False

  def __post_init__(self):
    if self.resize_px < 1:
      raise ValueError(f"resize_px={self.resize_px} is not positive")
    if self.crop_px is not None and not 1 <= self.crop_px <= self.resize_px:
      raise ValueError(
        f"crop_px={self.crop_px} must be in 1..resize_px={self.resize_px}, or"
        " None for no crop"
      )
    numbers = (*self.mean, *self.std)
    if len(self.mean) != 3 or len(self.std) != 3:
      raise ValueError("mean and std must have three numbers each")
    if not all(math.isfinite(x) for x in numbers) or min(self.std) <= 0:
      raise ValueError(f"mean={self.mean}, std={self.std} cannot standardise")

  def __str__(self) -> str:
    """One line in the order of the steps."""
    steps = ["histogram equalised"] if self.equalize else []
    if self.squash:
      steps.append(f"whole film to {self.resize_px} x {self.resize_px} px")
    else:
      steps.append(f"shorter side to {self.resize_px} px")
    if self.crop_px is not None:
      steps.append(f"centre {self.crop_px} x {self.crop_px} px")
    for name in ("mean", "std"):
      values = getattr(self, name)
      shown = values[:1] if len(set(values)) == 1 else values
      steps.append(f"{name} {' '.join(f'{x:g}' for x in shown)}")
    return ", ".join(steps)

  def to_huggingface(self) -> dict[str, Any]:
    """Returns the JSON of preprocessor_config.json, for `from_huggingface`.

    transformers prepares films alike, but for the equalisation, which it does
    not know: equalise before you give films to its processor.
    """
    side = {"height": self.resize_px, "width": self.resize_px}
    crop = self.crop_px or self.resize_px
    return {
      "crop_size": {"height": crop, "width": crop},
      "do_center_crop": self.crop_px is not None,
      "do_convert_rgb": True,
      "do_normalize": True,
      "do_rescale": True,
      "do_resize": True,
      "image_mean": list(self.mean),
      "image_processor_type": "BitImageProcessor",
      "image_std": list(self.std),
      "resample": _BICUBIC,
      "rescale_factor": _BYTE,
      _OWN_KEY: {"equalize": self.equalize},
      "size": side if self.squash else {"shortest_edge": self.resize_px},
    }


def read_preprocessing(folder: str | pathlib.Path) -> Preprocessing | None:
  """Reads a Hugging Face folder's preprocessor_config.json.

  Returns:
    None if there is no such file.

  Raises:
    ValueError: unreadable, or it asks for what is not done here.
  """
  path = pathlib.Path(folder) / FILE
  if not path.is_file():
    return None
  values = read_json(path)
  try:
    return from_huggingface(values)
  except (ValueError, TypeError) as error:
    raise ValueError(f"{path}: {error}") from error


def from_huggingface(values: dict[str, Any]) -> Preprocessing:
  """Reads the JSON of preprocessor_config.json; absent keys mean the usual.

  Raises:
    ValueError: it asks for what is not done here.
  """
  kind = values.get("image_processor_type") or values.get(
    "feature_extractor_type", "BitImageProcessor"
  )
  if kind not in _PROCESSORS:
    raise ValueError(
      f"image processor {kind!r} is unknown; known: {', '.join(_PROCESSORS)}"
    )
  _expect(values, "do_resize", True)
  _expect(values, "resample", _BICUBIC)
  _expect(values, "do_rescale", True)
  factor = values.get("rescale_factor", _BYTE)
  if type(factor) is not float or not math.isclose(factor, _BYTE, rel_tol=1e-4):
    raise ValueError(f"rescale_factor is {factor!r}, not 1/255")
  resize_px, squash = _size(values)
  standardise = _flag(values, "do_normalize", default=True)
  own = values.get(_OWN_KEY, {})
  if not isinstance(own, dict):
    raise ValueError(f"{_OWN_KEY} is not an object")
  return Preprocessing(
    resize_px=resize_px,
    crop_px=_crop(values),
    squash=squash,
    mean=_channels(values, "image_mean") if standardise else (0.0,) * 3,
    std=_channels(values, "image_std") if standardise else (1.0,) * 3,
    equalize=_flag(own, "equalize", default=_PROCESSORS[kind]),
  )


def _size(values: dict[str, Any]) -> tuple[int, bool]:
  """Returns the side to resize to, and whether both sides become it."""
  size = values.get("size")
  if isinstance(size, dict) and set(size) == {"shortest_edge"}:
    size = size["shortest_edge"]
  if type(size) is int:
    return size, False
  side = _square(size)
  if side is None:
    raise ValueError(
      f"size is {size!r}; known are shortest_edge, and height and width alike"
    )
  return side, True


def _crop(values: dict[str, Any]) -> int | None:
  if not _flag(values, "do_center_crop", default=True):
    return None
  crop = values.get("crop_size")
  side = crop if type(crop) is int else _square(crop)
  if side is None:
    raise ValueError(f"crop_size is {crop!r}, not one side or two alike")
  return side


def _square(size: Any) -> int | None:
  """Returns the side of a size with two sides alike; None for any other."""
  match size:
    case {"height": int(height), "width": width} if height == width:
      return height
  return None


def _channels(values: dict[str, Any], key: str) -> Channels:
  numbers = values.get(key)
  if (
    not isinstance(numbers, list)
    or len(numbers) != 3
    or not all(type(x) in (int, float) for x in numbers)
  ):
    raise ValueError(f"{key} is {numbers!r}, not three numbers")
  red, green, blue = map(float, numbers)
  return red, green, blue


def _flag(values: dict[str, Any], key: str, *, default: bool) -> bool:
  value = values.get(key, default)
  if type(value) is not bool:
    raise ValueError(f"{key} is {value!r}, neither true nor false")
  return value


def _expect(values: dict[str, Any], key: str, expected: Any) -> None:
  """Refuses another value than the one that is done here."""
  if values.get(key, expected) != expected:
    raise ValueError(
      f"{key} is {values[key]!r}; only {expected!r} is done here"
    )
