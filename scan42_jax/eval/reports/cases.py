"""A page of single studies: film, what was to be written, what was written.

Over the film lies the attention of one word. Every text is escaped; the page
has no script and asks for nothing from outside.
"""

from __future__ import annotations

import base64
import dataclasses
import html
from collections.abc import Sequence

import numpy as np

from scan42_jax.types import Float


@dataclasses.dataclass(frozen=True)
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
    word: whose attention is drawn; '' for none.
    attention: share of it on each patch.
  """

  title: str
  jpeg: bytes
  width: int
  height: int
  reference: str
  generated: str
  blind: str
  indication: str = ""
  word: str = ""
  attention: Float[np.ndarray, "h w"] | None = None


def sharpest_word(
  pieces: Sequence[str], looks: Float[np.ndarray, "T P"]
) -> tuple[str, Float[np.ndarray, "P"]] | None:
  """The word of four letters or more whose attention is most concentrated.

  Args:
    pieces: text of each token.
    looks: attention while each token was written; rows sum to 1.

  Returns:
    The word and the mean attention of its tokens, by the least entropy of what
    exceeds the text's mean attention; None if there is no such word.
  """
  usual = looks.mean(axis=0)
  best = None
  for word, tokens in _words(pieces):
    if len(word) < 4:
      continue
    look = np.maximum(looks[tokens].mean(axis=0) - usual, 0)
    if not look.sum():
      continue
    share = look / look.sum()
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum()
    if best is None or entropy < best[0]:
      best = entropy, word, look
  return best and best[1:]


def _words(pieces: Sequence[str]):
  """Joins tokens to words: a token that begins with a blank begins a word."""
  start = 0
  for end in range(1, len(pieces) + 1):
    if end == len(pieces) or pieces[end][:1] in (" ", "\n", ".", ","):
      word = "".join(pieces[start:end]).strip(" .,\n")
      yield word, list(range(start, end))
      start = end


def render_cases(title: str, cases: Sequence[Case], *, note: str) -> str:
  """Returns the page.

  Args:
    title: heading.
    cases: in reading order.
    note: sentence below the heading.
  """
  return "".join(
    [
      '<!doctype html><html lang="en"><head><meta charset="utf-8">',
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>",
      f"<body><h1>{html.escape(title)}</h1><p>{html.escape(note)}</p>",
      *map(_case, cases),
      "<footer>Not for clinical use.</footer></body></html>\n",
    ]
  )


def _case(case: Case) -> str:
  rows = [
    ("Indication", case.indication),
    ("Reference", case.reference),
    ("Generated", case.generated),
    ("Without the film", case.blind),
  ]
  texts = "".join(
    f"<dt>{name}</dt><dd>{html.escape(text)}</dd>"
    for name, text in rows
    if text
  )
  caption = (
    f"Attention of the word “{html.escape(case.word)}”" if case.word else ""
  )
  return (
    f"<section><h2>{html.escape(case.title)}</h2><div>"
    f"<figure>{_film(case)}<figcaption>{caption}</figcaption></figure>"
    f"<dl>{texts}</dl></div></section>"
  )


def _film(case: Case) -> str:
  """The film with a square of warm colour on each patch, by its attention."""
  data = base64.b64encode(case.jpeg).decode()
  size = f'width="{case.width}" height="{case.height}"'
  squares = ""
  if case.attention is not None and case.attention.max() > 0:
    rows, columns = case.attention.shape
    strength = case.attention / case.attention.max()
    high, wide = case.height / rows, case.width / columns
    squares = "".join(
      f'<rect x="{column * wide:.1f}" y="{row * high:.1f}" width="{wide:.1f}"'
      f' height="{high:.1f}" opacity="{strength[row, column] * 0.6:.2f}"/>'
      for row, column in np.argwhere(strength > 0.1)
    )
  return (
    f'<svg viewBox="0 0 {case.width} {case.height}" role="img"'
    f' aria-label="{html.escape(case.title, quote=True)}">'
    f'<image href="data:image/jpeg;base64,{data}" {size}/>'
    f'<g fill="#ff7a1a">{squares}</g></svg>'
  )


_STYLE = (
  ":root{color-scheme:light dark;--line:#8884}*{box-sizing:border-box}"
  "body{margin:0 auto;max-width:1100px;padding:16px;"
  "font:16px/1.5 system-ui,sans-serif}"
  "h1{font-size:1.5rem;margin:.3em 0;overflow-wrap:anywhere}"
  "h2{font-size:1rem;margin:0 0 .6em;overflow-wrap:anywhere}"
  "p{font-size:.9rem;opacity:.85}"
  "section{border-top:1px solid var(--line);padding:16px 0}"
  "section>div{display:grid;gap:20px;grid-template-columns:1fr}"
  "@media(min-width:720px){section>div{grid-template-columns:340px 1fr}}"
  "figure{margin:0}svg{display:block;width:100%;height:auto;"
  "border-radius:4px;background:#000}"
  "figcaption{font-size:.85rem;opacity:.8;padding-top:6px}"
  "dl{margin:0}dt{font-size:.85rem;opacity:.7}dd{margin:0 0 .8em;"
  "overflow-wrap:anywhere}"
  "footer{border-top:1px solid var(--line);padding:12px 0;font-size:.85rem;"
  "opacity:.75}"
)
