"""From encoded films to the figures of a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from scan42_jax.pictures import drawing, maps
from scan42_jax.pictures.page import Figure, FilmPictures
from scan42_jax.types import Bool, Float

FILM_PX = 560
"""Long side of a film in the figures."""

TILE_PX = 260
"""Long side of one head's map."""

NOTES = (
  "Attention: how much the class token, or a register, takes from each patch"
  " in the last block, one map per head. Each map has a scale of its own, from"
  " 0 to the 99.5th percentile of its patches. The caption says how much of a"
  " head's attention goes to patches; the rest goes to class token and"
  " registers.",
  "Principal components: the first three of all patch features, as red, green"
  " and blue. They are fitted to the patches of all films of this page"
  " together, so that one colour means one thing. Patches whose mean grey level"
  f" is below {maps.FOREGROUND_GREY} of 255 are border: they take no part and"
  " stay black.",
  "Similarity: cosine between the features of the marked patch and of every"
  " other one, from the lowest of the film (dark) to 1 (light).",
  "A frame in the film, where there is one, shows the part that the encoder"
  " sees. Where it was shown a square, the maps are stretched back to the shape"
  " of the film.",
)
"""How to read the figures."""


@dataclasses.dataclass(frozen=True)
class SeenFilm:
  """A film with what the encoder made of it.

  Attributes:
    title: what the reader knows it by.
    subtitle: facts in one line.
    canvas: the film as it is drawn, and the part that is seen.
    patches: features.
    attention: of class token and registers over [class, registers, patches].
  """

  title: str
  subtitle: str
  canvas: drawing.Canvas
  patches: Float[np.ndarray, "h w D"]
  attention: Float[np.ndarray, "A Q T"]

  @property
  def foreground(self) -> Bool[np.ndarray, "h w"]:
    """Patches that are not the black border of the film."""
    rows, columns = self.patches.shape[:2]
    grey = maps.block_means(self.canvas.seen(), rows, columns)
    return grey >= maps.FOREGROUND_GREY


def film_pictures(
  films: Sequence[SeenFilm], *, points: Sequence[tuple[float, float]]
) -> Iterator[FilmPictures]:
  """Draws one film after the other.

  Args:
    films: all of the page.
    points: (x, y) as shares of width and height, for the similarity maps.
  """
  components = maps.Components(
    np.concatenate([f.patches.reshape(-1, f.patches.shape[-1]) for f in films]),
    np.concatenate([f.foreground.ravel() for f in films]),
  )
  digits = len(str(len(films)))
  for number, film in enumerate(films, 1):
    yield FilmPictures(
      stem=f"film_{number:0{digits}d}",
      title=film.title,
      subtitle=film.subtitle,
      figures=[
        *_overview(film, components, points),
        *(
          _attention_figure(film, query)
          for query in range(film.attention.shape[1])
        ),
      ],
    )


def _overview(film, components, points) -> Iterator[Figure]:
  marks = [_nearest_patch(film, point) for point in points]
  centres = [
    film.canvas.view.centre_of(*mark, grid=film.patches.shape[:2])
    for mark in marks
  ]
  picture = drawing.draw_film(film.canvas, centres)
  yield _figure("film", picture, "The film, with the points of the similarity")
  mean = film.attention[:, 0].mean(axis=0)
  yield _figure(
    "attention_cls_mean",
    _attention_map(film, film.canvas, mean),
    "Attention of the class token, mean over heads",
  )
  colours = components.colours(film.patches, film.foreground)
  yield _figure(
    "components",
    drawing.draw_patches(film.canvas, colours),
    "Principal components of the patches",
  )
  for number, (mark, centre) in enumerate(zip(marks, centres, strict=True), 1):
    yield _similarity_figure(film, number, mark, centre)


def _nearest_patch(film, point) -> tuple[int, int]:
  return film.canvas.view.patch_at(*point, grid=film.patches.shape[:2])


def _similarity_figure(film, number, mark, centre) -> Figure:
  values = maps.similarity(film.patches, *mark)
  low = float(values.min())
  picture = drawing.overlay(film.canvas, values, low=low, high=1.0)
  return _figure(
    f"similarity_{number}",
    drawing.with_mark(picture, centre, str(number)),
    f"Similarity to point {number}, {low:.2f} to 1",
  )


def _attention_figure(film, query) -> Figure:
  small = film.canvas.resized(TILE_PX)
  sheet = drawing.tile(
    [_attention_map(film, small, head) for head in film.attention[:, query]]
  )
  name = "class token" if query == 0 else f"register {query}"
  on_patches = film.attention[:, query, film.attention.shape[1] :].sum(axis=1)
  shares = ", ".join(f"{share:.0%}" for share in on_patches)
  return _figure(
    "attention_cls" if query == 0 else f"attention_register_{query}",
    sheet,
    f"Attention of the {name} by head; on patches: {shares}",
    wide=True,
    folded=query > 0,
  )


def _attention_map(film, canvas, weights):
  """Draws one row of attention; the extra tokens are left out."""
  rows, columns = film.patches.shape[:2]
  values = weights[-rows * columns :].reshape(rows, columns)
  high = float(np.percentile(values, 99.5))
  return drawing.overlay(canvas, values, low=0.0, high=high)


def _figure(name, picture, caption, **layout) -> Figure:
  return Figure(
    name=name,
    png=drawing.to_png(picture),
    jpeg=drawing.to_jpeg(picture),
    caption=caption,
    **layout,
  )
