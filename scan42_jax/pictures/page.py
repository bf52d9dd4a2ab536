"""One HTML page with every picture inside it, readable offline on any width.

Every text is escaped; the page has no script and asks for nothing from outside.
"""

from __future__ import annotations

import base64
import dataclasses
import html
from collections.abc import Iterable, Sequence

from scan42_jax.pictures.maps import heat_scale


@dataclasses.dataclass(frozen=True)
class Figure:
  """A picture with its caption.

  Attributes:
    name: of the PNG file, without the film's number and the suffix.
    png: the picture, for its file.
    jpeg: the picture, for the page, which would be six times as large.
    caption: one or two sentences.
    wide: takes the whole width of the page.
    folded: is shown only when the reader asks for it.
  """

  name: str
  png: bytes
  jpeg: bytes
  caption: str
  wide: bool = False
  folded: bool = False


@dataclasses.dataclass(frozen=True)
class FilmPictures:
  """All figures of one film.

  Attributes:
    stem: prefix of the names of its PNG files.
    title: what the reader knows the film by.
    subtitle: facts in one line.
    figures: in reading order.
  """

  stem: str
  title: str
  subtitle: str
  figures: Sequence[Figure]


def page_start(
  title: str, *, facts: Sequence[tuple[str, str]], notes: Sequence[str]
) -> str:
  """Returns the head of the page.

  Args:
    title: of the page.
    facts: names and values, of the encoder for one.
    notes: how to read the pictures, a paragraph each.
  """
  rows = "".join(
    f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
    for name, value in facts
  )
  paragraphs = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f"<title>{html.escape(title)}</title><style>{_style()}</style></head>"
    f"<body><header><h1>{html.escape(title)}</h1><dl>{rows}</dl>"
    f"<details><summary>How to read the pictures</summary>{paragraphs}"
    '</details><div class="scale"><span>low</span><i></i><span>high</span>'
    "</div></header>"
  )


def page_contents(titles: Iterable[str]) -> str:
  """Returns links to the films that follow, in their order."""
  links = "".join(
    f'<li><a href="#film-{i}">{html.escape(title)}</a></li>'
    for i, title in enumerate(titles, 1)
  )
  return f"<nav><ol>{links}</ol></nav>"


def film_section(number: int, film: FilmPictures) -> str:
  """Returns the part of the page about one film, counted from 1."""
  open_figures = "".join(
    _figure(figure, film.title) for figure in film.figures if not figure.folded
  )
  folded = "".join(
    f"<details><summary>{html.escape(figure.caption)}</summary>"
    f"{_image(figure, film.title)}</details>"
    for figure in film.figures
    if figure.folded
  )
  return (
    f'<section id="film-{number}"><h2>{html.escape(film.title)}</h2>'
    f'<p class="sub">{html.escape(film.subtitle)}</p>'
    f'<div class="grid">{open_figures}</div>{folded}</section>'
  )


def page_end(note: str) -> str:
  """Returns the foot of the page."""
  return f"<footer>{html.escape(note)}</footer></body></html>\n"


def _figure(figure: Figure, title: str) -> str:
  kind = ' class="wide"' if figure.wide else ""
  return (
    f"<figure{kind}>{_image(figure, title)}"
    f"<figcaption>{html.escape(figure.caption)}</figcaption></figure>"
  )


def _image(figure: Figure, title: str) -> str:
  data = base64.b64encode(figure.jpeg).decode()
  alternative = html.escape(f"{title}: {figure.caption}", quote=True)
  return f'<img alt="{alternative}" src="data:image/jpeg;base64,{data}">'


def _style() -> str:
  scale = ",".join(heat_scale())
  return (
    ":root{color-scheme:light dark;--line:#8884}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:1180px;padding:16px;"
    "font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}"
    "h1{font-size:1.5rem;margin:.3em 0}"
    "h2{font-size:1.15rem;margin:0}"
    ".sub{margin:.1em 0 .8em;opacity:.75;font-size:.9rem}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;"
    "margin:.5em 0;font-size:.9rem}dt{opacity:.7}dd{margin:0}"
    "nav ol{display:flex;flex-wrap:wrap;gap:2px 28px;padding-left:1.4em}"
    "section{border-top:1px solid var(--line);padding:18px 0}"
    ".grid{display:grid;gap:14px;grid-template-columns:repeat(2,1fr)}"
    "@media(min-width:720px){.grid{grid-template-columns:repeat(3,1fr)}}"
    "figure{margin:0}.wide{grid-column:1/-1}"
    "img{display:block;max-width:100%;height:auto;border-radius:4px}"
    "figure:not(.wide) img{width:100%}"
    "figcaption{font-size:.85rem;padding-top:4px;opacity:.85}"
    "details{margin:.6em 0}summary{cursor:pointer;font-size:.95rem}"
    "details img{margin-top:8px}"
    ".scale{display:flex;gap:8px;align-items:center;font-size:.85rem}"
    f".scale i{{width:180px;height:12px;border-radius:3px;"
    f"background:linear-gradient(to right,{scale})}}"
    "footer{border-top:1px solid var(--line);padding:14px 0;font-size:.85rem;"
    "opacity:.75}"
  )
