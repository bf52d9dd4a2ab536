"""How often copies of films are missed, and strangers taken for copies.

  python -m benchmarks.copy_detection --films=DIR[,DIR...]

Alters every film below the folders as releases alter them, and compares copies
with their films and all films with each other. Pairs of one folder that are
copies in truth count as errors here, so leave folders with twins out.
"""

import io
import json
import pathlib

import numpy as np
from absl import app, flags
from PIL import Image

from scan42_jax.data import images, signatures

_FILMS = flags.DEFINE_list("films", None, "Folders of films.", required=True)


def _jpeg(pixels, quality):
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
  return images.decode_film(stream.getvalue())


def _resize(pixels, short_side_px):
  return images.shrink(pixels, short_side_px=short_side_px)


def _window(pixels):
  low, high = np.percentile(pixels, (5, 95))
  values = (pixels - low) / max(high - low, 1) * 255
  return values.clip(0, 255).astype(np.uint8)


def _crop(pixels, share):
  top, left = (int(side * share) for side in pixels.shape)
  return pixels[top or None : -top or None, left or None : -left or None]


def _pad_to_square(pixels):
  side = max(pixels.shape)
  gaps = [side - length for length in pixels.shape]
  return np.pad(pixels, [(gap // 2, gap - gap // 2) for gap in gaps])


def _letter(pixels):
  """A white marker in a corner."""
  height, width = pixels.shape
  marked = pixels.copy()
  marked[height // 40 : height // 16, width // 40 : width // 10] = 255
  return marked


ALTERATIONS = {
  "224 pixels": lambda p: _resize(p, 224),
  "128 pixels": lambda p: _resize(p, 128),
  "JPEG quality 30": lambda p: _jpeg(p, 30),
  "equalised": images.equalize_histogram,
  "inverted": lambda p: 255 - p,
  "gamma 2": lambda p: (255 * (p / 255) ** 2).astype(np.uint8),
  "window of 5..95 %": _window,
  "equalised, inverted, 224 pixels, JPEG 50": lambda p: _jpeg(
    _resize(255 - images.equalize_histogram(p), 224), 50
  ),
  "padded by 5 %": lambda p: np.pad(
    p, [(side // 20, side // 20) for side in p.shape]
  ),
  "padded to a square": _pad_to_square,
  "marker": _letter,
  "cropped by 1 % a side": lambda p: _crop(p, 0.01),
  "cropped by 2 % a side": lambda p: _crop(p, 0.02),
  "cropped by 5 % a side": lambda p: _crop(p, 0.05),
}


def _is_copy(coarse: float, fine: float) -> bool:
  return (
    coarse >= signatures.COARSE_THRESHOLD and fine >= signatures.FINE_THRESHOLD
  )


def main(argv: list[str]) -> None:
  """Prints one JSON object a line."""
  del argv
  films = []
  for folder in _FILMS.value:
    for path in sorted(pathlib.Path(folder).rglob("*")):
      if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
        films.append(images.read_film(path).pixels)
  coarse = [signatures.coarse_signature(film) for film in films]
  fine = [signatures.fine_signature(film) for film in films]
  for name, alter in ALTERATIONS.items():
    found = []
    for i, film in enumerate(films):
      copy = alter(film)
      found.append(
        _is_copy(
          signatures.similarity(coarse[i], signatures.coarse_signature(copy)),
          signatures.similarity(fine[i], signatures.fine_signature(copy)),
        )
      )
    missed = len(films) - sum(found)
    print(json.dumps({"altered": name, "films": len(films), "missed": missed}))
  pairs = mistaken = 0
  highest = 0.0
  for i in range(len(films)):
    for j in range(i):
      pairs += 1
      alike = signatures.similarity(coarse[i], coarse[j])
      if alike < signatures.COARSE_THRESHOLD:
        continue
      same = signatures.similarity(fine[i], fine[j])
      highest = max(highest, same)
      mistaken += _is_copy(alike, same)
  print(
    json.dumps(
      {
        "pairs of different films": pairs,
        "mistaken": mistaken,
        "highest confirmed similarity": round(highest, 3),
      }
    )
  )


if __name__ == "__main__":
  app.run(main)
