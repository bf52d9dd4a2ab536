"""Looks at films with an encoder and writes pictures and page to a folder."""

from __future__ import annotations

import functools
import glob
import pathlib
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from scan42_jax.data.images import RejectedFilm, read_film
from scan42_jax.datasets.film_files import find_films
from scan42_jax.encoder import Encoder
from scan42_jax.models.attention import encode_with_attention
from scan42_jax.models.vit import VisionTransformer, ViTConfig
from scan42_jax.pictures import page
from scan42_jax.pictures.drawing import Canvas
from scan42_jax.pictures.figures import (
  FILM_PX,
  NOTES,
  SeenFilm,
  film_pictures,
)
from scan42_jax.pictures.geometry import encoder_view

MOST_FILMS = 64
"""A page holds all its pictures, and the browser has to hold the page."""


def find_images(texts: Sequence[str]) -> list[pathlib.Path]:
  """Finds the films that paths, folders and globs name, each once, in order.

  Raises:
    FileNotFoundError: a path does not exist or a glob matches nothing.
    ValueError: they are too many for one page.
  """
  found: dict[pathlib.Path, None] = {}
  for text in texts:
    found |= dict.fromkeys(_named(pathlib.Path(text).expanduser()))
  if len(found) > MOST_FILMS:
    raise ValueError(
      f"{len(found)} images for one page, at most {MOST_FILMS}; name fewer"
    )
  return list(found)


def write_gallery(
  encoder: Encoder,
  images: Sequence[pathlib.Path],
  *,
  output: pathlib.Path,
  points: Sequence[tuple[float, float]],
  say: Callable[[str], None] = print,
) -> pathlib.Path:
  """Writes PNG files and `index.html`.

  Args:
    encoder: what looks.
    images: the films.
    output: folder, made if absent.
    points: (x, y) as shares of a film's width and height.
    say: takes the lines for the user.

  Returns:
    The page.

  Raises:
    ValueError: none of the films can be used.
    OSError: the folder cannot be written.
  """
  output.mkdir(parents=True, exist_ok=True)
  films = list(look_at_films(encoder, images, say))
  if not films:
    raise ValueError(f"none of {len(images)} images can be used")
  beside = output / "index.html.tmp"
  with beside.open("w", encoding="utf-8") as stream:
    stream.write(_page_start(encoder, films))
    for number, film in enumerate(film_pictures(films, points=points), 1):
      for figure in film.figures:
        path = output / f"{film.stem}_{figure.name}.png"
        path.write_bytes(figure.png)
      stream.write(page.film_section(number, film))
    stream.write(page.page_end("Not for clinical use."))
  return beside.replace(output / "index.html")


def _named(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the file, the films of a folder, or what a glob matches."""
  if path.is_file():
    return [path]
  if path.is_dir():
    matches = [path / file for file in find_films(path)]
    problem = f"{path} holds no DICOM, PNG or JPEG file"
  elif glob.has_magic(str(path)):
    found = sorted(glob.glob(str(path), recursive=True))
    matches = [p for p in map(pathlib.Path, found) if p.is_file()]
    problem = f"no image matches {path}"
  else:
    matches, problem = [], f"{path}: no such image"
  if not matches:
    raise FileNotFoundError(problem)
  return matches


def look_at_films(
  encoder: Encoder, images: Sequence[pathlib.Path], say: Callable[[str], None]
) -> Iterator[SeenFilm]:
  """Encodes one film after the other; what cannot be used is said."""
  look = _looking(encoder.config)
  for path in images:
    try:
      film = read_film(path)
    except RejectedFilm as error:
      say(f"{path} is left out: {error}")
      continue
    if film.burned_in:
      say(f"{path} is left out: text burned into the film")
      continue
    pixels = encoder.prepare([film.pixels])
    output, attention = look(encoder.params, pixels)
    yield _seen_film(encoder, path, film, pixels, output, attention)


@functools.lru_cache(maxsize=1)
def _looking(config: ViTConfig):
  """Compiles an encoder that tells its attention, once for many calls."""
  return jax.jit(
    functools.partial(encode_with_attention, VisionTransformer(config))
  )


def _seen_film(encoder, path, film, pixels, output, attention) -> SeenFilm:
  height, width = film.pixels.shape
  size = encoder.config.patch_size
  rows, columns = pixels.shape[1] // size, pixels.shape[2] // size
  preprocessing = encoder.preprocessing
  view = encoder_view(
    (height, width),
    resize_px=preprocessing.resize_px,
    crop_px=preprocessing.crop_px,
    squash=preprocessing.squash,
  )
  return SeenFilm(
    title=path.name,
    subtitle=(
      f"{width} x {height} pixels, {film.view or 'unknown view'}, seen at"
      f" {pixels.shape[2]} x {pixels.shape[1]}: {columns} x {rows} patches"
    ),
    canvas=Canvas(film.pixels, view).resized(FILM_PX),
    patches=np.asarray(output.patches[0]).reshape(rows, columns, -1),
    attention=np.asarray(attention[0]),
  )


def _page_start(encoder: Encoder, films: Sequence[SeenFilm]) -> str:
  start = page.page_start(
    "What the encoder sees",
    facts=[("Encoder", str(encoder)), ("Films", str(len(films)))],
    notes=NOTES,
  )
  return start + page.page_contents(film.title for film in films)
