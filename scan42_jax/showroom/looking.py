"""From one film to all that encoder, heads and a folder have to say of it.

Knows no browser; interface.py shows what is found here.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from scan42_jax.data.film import RejectedFilm
from scan42_jax.data.images import read_film, shrink
from scan42_jax.datasets.film_files import find_films
from scan42_jax.encoder import Encoder
from scan42_jax.eval.adapted import AdaptedModel, load_model
from scan42_jax.eval.reports.reporter import (
  Reporter,
  is_reporter,
  load_reporter,
)
from scan42_jax.eval.results.pictures import colour_names, draw_masks
from scan42_jax.eval.segmenting.segmenter import (
  Segmenter,
  is_segmenter,
  load_segmenter,
)
from scan42_jax.pictures.figures import film_pictures
from scan42_jax.pictures.gallery import look_at_films
from scan42_jax.types import Float, UInt8

_POINTS = ((0.3, 0.4), (0.7, 0.4))
_THUMBNAIL_PX = 320
_MOST_NEIGHBOURS = 2000

Picture = tuple[Image.Image, str]
"""A picture and its caption."""


@dataclasses.dataclass(frozen=True)
class Shown:
  """What there is to show of a film.

  Attributes:
    subtitle: facts in one line.
    pictures: the film, attention, components, similarity, masks.
    findings: label, probability, and whether it is called; none without a
      head.
    texts: what each writer says, in the order of `Showroom.sections`.
    neighbours: the nearest films of the folder, the nearest first.
  """

  subtitle: str
  pictures: Sequence[Picture]
  findings: Sequence[tuple[str, float, str]]
  texts: Sequence[str]
  neighbours: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Neighbours:
  """Films of a folder, by their class tokens.

  Attributes:
    files: the films.
    tokens: class tokens of length 1.
  """

  files: Sequence[pathlib.Path]
  tokens: Float[np.ndarray, "N D"]

  def nearest(
    self, token: Float[np.ndarray, "D"], count: int
  ) -> list[tuple[pathlib.Path, float]]:
    """Returns the files of the greatest cosine similarity, and it."""
    similarity = self.tokens @ (token / max(np.linalg.norm(token), 1e-12))
    best = np.argsort(-similarity, kind="stable")[:count]
    return [(self.files[i], float(similarity[i])) for i in best]


def read_neighbours(
  encoder: Encoder, folder: pathlib.Path, say: Callable[[str], None]
) -> Neighbours:
  """Encodes the films of a folder; what cannot be read is said.

  Raises:
    FileNotFoundError: the folder holds none that can be used.
    ValueError: it holds too many for a demo.
  """
  names = list(find_films(folder))
  if len(names) > _MOST_NEIGHBOURS:
    raise ValueError(
      f"{folder} holds {len(names)} films, a demo takes {_MOST_NEIGHBOURS}"
    )
  files, tokens = [], []
  for name in names:
    try:
      token = encoder([folder / name]).cls[0]
    except RejectedFilm as error:
      say(f"left out: {error}")
      continue
    files.append(folder / name)
    tokens.append(token / max(np.linalg.norm(token), 1e-12))
  if not files:
    raise FileNotFoundError(f"{folder} holds no film that can be used")
  say(f"{len(files)} films of {folder} to compare with")
  return Neighbours(files, np.stack(tokens))


class Showroom:
  """Looks at one film after the other.

  Args:
    encoder: what looks.
    heads: work folders of finished classifications, segmentations and report
      generations.
    neighbours: films to compare with, None for none.

  Raises:
    FileNotFoundError, ValueError: a folder holds no head that can be used.
  """

  def __init__(
    self,
    encoder: Encoder,
    *,
    heads: Sequence[pathlib.Path] = (),
    neighbours: Neighbours | None = None,
  ):
    self._encoder, self._neighbours = encoder, neighbours
    self._segmenters: list[Segmenter] = []
    self._classifiers: list[AdaptedModel] = []
    self._reporters: list[Reporter] = []
    for folder in heads:
      if is_segmenter(folder):
        self._segmenters.append(load_segmenter(folder))
      elif is_reporter(folder):
        self._reporters.append(load_reporter(folder, batch_size=1))
      else:
        self._classifiers.append(load_model(folder))

  @property
  def has_findings(self) -> bool:
    """Whether a head names findings."""
    return bool(self._classifiers)

  @property
  def sections(self) -> list[str]:
    """The section of a report that each writer writes, such as 'findings'."""
    return [reporter.section for reporter in self._reporters]

  @property
  def has_neighbours(self) -> bool:
    """Whether there are films to compare with."""
    return self._neighbours is not None

  def look(self, path: pathlib.Path) -> Shown:
    """Looks at a film.

    Raises:
      ValueError: the file gives no film; one line that says why.
    """
    problems: list[str] = []
    seen = list(look_at_films(self._encoder, [path], problems.append))
    if not seen:
      raise ValueError(problems[0].replace(str(path), path.name))
    film = read_film(path).pixels
    (drawn,) = film_pictures(seen, points=_POINTS)
    pictures = [
      (_open(figure.png), figure.caption)
      for figure in drawn.figures
      if not figure.folded
    ]
    return Shown(
      subtitle=seen[0].subtitle,
      pictures=pictures + [self._masks(film, s) for s in self._segmenters],
      findings=[row for m in self._classifiers for row in _findings(m, film)],
      texts=[text for r in self._reporters for text in r.write([film])],
      neighbours=self._near(film),
    )

  def _masks(
    self, film: UInt8[np.ndarray, "_ _"], segmenter: Segmenter
  ) -> Picture:
    found = segmenter.segment(film)
    names = colour_names(segmenter.structures)
    return _open(draw_masks(film, found, found)), f"Masks: {names}"

  def _near(self, film: UInt8[np.ndarray, "_ _"]) -> list[Picture]:
    if self._neighbours is None:
      return []
    token = self._encoder([film]).cls[0]
    return [
      (_thumbnail(path), f"{path.name}, similarity {similarity:.3f}")
      for path, similarity in self._neighbours.nearest(token, 4)
    ]


def _findings(
  model: AdaptedModel, film: UInt8[np.ndarray, "_ _"]
) -> list[tuple[str, float, str]]:
  """Rows of a model, the most probable first."""
  (values,) = model.predict([film])
  rows = []
  for label, value, threshold in zip(
    model.labels, values, model.thresholds, strict=True
  ):
    called = "no threshold" if np.isnan(threshold) else "no"
    if value >= threshold:
      called = "yes"
    rows.append((label, round(float(value), 4), called))
  return sorted(rows, key=lambda row: -row[1])


def _thumbnail(path: pathlib.Path) -> Image.Image:
  return Image.fromarray(
    shrink(read_film(path).pixels, short_side_px=_THUMBNAIL_PX)
  )


def _open(png: bytes) -> Image.Image:
  return Image.open(io.BytesIO(png))
