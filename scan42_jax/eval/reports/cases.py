"""A page of single studies: film, what was to be written, what was written.

The reader chooses a word of the generated text, and its attention lies over
the film. Every text is escaped; the page has no script and asks for nothing
from outside.
"""

from __future__ import annotations

import base64
import dataclasses
import html
from collections.abc import Sequence

import numpy as np

from scan42_jax.data.images import encode_png
from scan42_jax.eval.reports.attention import Word
from scan42_jax.types import Float, UInt8

_ORANGE = (255, 122, 26)
_STRONGEST = 0.75
_LEVELS = 16  # Of opacity; few, so that a picture stays small.


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
  """One study.

  Attributes:
    title: whose film it is.
    jpeg: the film.
    width: of the film, pixels.
    height: of the film, pixels.
    reference: what the radiologist wrote.
    generated: what was generated.
    blind: what was generated without the film.
    indication: that the decoder was shown, or ''.
    words: of the generated text with their attention; () where that is not
      known.
    chosen: the word that is chosen when the page opens.
    grid: rows and columns of patches.
  """

  title: str
  jpeg: bytes
  width: int
  height: int
  reference: str
  generated: str
  blind: str
  indication: str = ""
  words: Sequence[Word] = ()
  chosen: int | None = None
  grid: tuple[int, int] = (1, 1)


def render_cases(
  title: str, cases: Sequence[Case], *, note: str, details: Sequence[str] = ()
) -> str:
  """Returns the page.

  Args:
    title: heading.
    cases: in reading order.
    note: sentence below the heading.
    details: sentences that open below it on demand.
  """
  most = max((len(case.words) for case in cases), default=0)
  return "".join(
    [
      '<!doctype html><html lang="en"><head><meta charset="utf-8">',
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      f"<title>{html.escape(title)}</title>",
      f"<style>{_STYLE}{_choices(most)}</style></head>",
      f"<body><h1>{html.escape(title)}</h1><p>{html.escape(note)}</p>",
      _details(details),
      *(_case(case, number) for number, case in enumerate(cases)),
      "<footer>Not for clinical use.</footer></body></html>\n",
    ]
  )


def _details(sentences: Sequence[str]) -> str:
  if not sentences:
    return ""
  items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
  return (
    "<details><summary>How these texts were made and scored</summary>"
    f"<ul>{items}</ul></details>"
  )


def _case(case: Case, number: int) -> str:
  generated = html.escape(case.generated)
  if case.words:
    generated = "".join(
      _label(word, f"c{number}w{place}", place)
      for place, word in enumerate(case.words)
    )
  rows = [
    ("Indication", html.escape(case.indication)),
    ("Reference", html.escape(case.reference)),
    ("Generated", generated),
    ("Without the film", html.escape(case.blind)),
  ]
  texts = "".join(
    f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows if text
  )
  looking = any(word.look.any() for word in case.words)
  caption = (
    "Attention of the chosen word, where it exceeds that of the whole text."
    " Choose a word of the generated text."
  )
  return (
    f"<section><h2>{html.escape(case.title)}</h2>{_inputs(case, number)}"
    f"<div><figure>{_film(case)}"
    f"<figcaption>{caption if looking else ''}</figcaption></figure>"
    f"<dl>{texts}</dl></div></section>"
  )


def _inputs(case: Case, number: int) -> str:
  """One choice a word; they stand before all that they change."""
  return "".join(
    f'<input type="radio" name="c{number}" id="c{number}w{place}"'
    f' class="w{place}" aria-label="{html.escape(word.text, quote=True)}"'
    f"{' checked' if place == case.chosen else ''}>"
    for place, word in enumerate(case.words)
    if word.look.any()
  )


def _label(word: Word, name: str, place: int) -> str:
  text = html.escape(word.text)
  if not word.look.any():
    return text
  blank = " " * word.text.startswith(" ")
  return f'{blank}<label for="{name}" class="w{place}">{text.strip()}</label>'


def _film(case: Case) -> str:
  """The film, and over it a warm square on each patch for every word."""
  looks = "".join(
    f'<img class="w{place}" alt="" src="{_png(_heat(word.look, case.grid))}">'
    for place, word in enumerate(case.words)
    if word.look.any()
  )
  data = base64.b64encode(case.jpeg).decode()
  return (
    f'<div class="film"><img src="data:image/jpeg;base64,{data}"'
    f' width="{case.width}" height="{case.height}"'
    f' alt="{html.escape(case.title, quote=True)}">{looks}</div>'
  )


def _heat(
  look: Float[np.ndarray, "P"], grid: tuple[int, int]
) -> UInt8[np.ndarray, "h w 4"]:
  """Attention as the opacity of one colour."""
  strength = (look / look.max()).reshape(grid)
  steps = np.round(strength * (_LEVELS - 1)) / (_LEVELS - 1)
  picture = np.empty((*grid, 4), np.uint8)
  picture[..., :3] = _ORANGE
  picture[..., 3] = np.round(steps * _STRONGEST * 255)
  return picture


def _png(picture: UInt8[np.ndarray, "h w 4"]) -> str:
  data = base64.b64encode(encode_png(picture)).decode()
  return f"data:image/png;base64,{data}"


def _choices(number: int) -> str:
  """Shows the attention of the word that is chosen, for any case."""
  return "".join(
    f".w{place}:checked~div img.w{place}{{opacity:1}}"
    f".w{place}:checked~div label.w{place}{{background:#ff7a1a;color:#000}}"
    f".w{place}:focus-visible~div label.w{place}{{outline:2px solid}}"
    for place in range(number)
  )


_STYLE = (
  ":root{color-scheme:light dark;--line:#8884}*{box-sizing:border-box}"
  "body{margin:0 auto;max-width:1100px;padding:16px;"
  "font:16px/1.5 system-ui,sans-serif}"
  "h1{font-size:1.5rem;margin:.3em 0;overflow-wrap:anywhere}"
  "h2{font-size:1rem;margin:0 0 .6em;overflow-wrap:anywhere}"
  "p{font-size:.9rem;opacity:.85}"
  "section{border-top:1px solid var(--line);padding:16px 0;position:relative}"
  "section>div{display:grid;gap:20px;grid-template-columns:1fr}"
  "@media(min-width:720px){section>div{grid-template-columns:340px 1fr}}"
  "figure{margin:0}.film{position:relative;background:#000;border-radius:4px;"
  "overflow:hidden}.film img{display:block;width:100%;height:auto}"
  ".film img+img{position:absolute;inset:0;height:100%;opacity:0;"
  "image-rendering:pixelated}"
  "figcaption{font-size:.85rem;opacity:.8;padding-top:6px}"
  "dl{margin:0}dt{font-size:.85rem;opacity:.7}dd{margin:0 0 .8em;"
  "overflow-wrap:anywhere}"
  "input{position:absolute;opacity:0;pointer-events:none}"
  "label{cursor:pointer;border-radius:3px}"
  "label:hover{background:#ff7a1a55}"
  "details{font-size:.9rem;margin-bottom:1em}summary{cursor:pointer}"
  "footer{border-top:1px solid var(--line);padding:12px 0;font-size:.85rem;"
  "opacity:.75}"
)
