"""One HTML page of tables and figures, readable offline on any width.

Every text is escaped; the page has no script and asks for nothing from outside.
"""

from __future__ import annotations

import base64
import dataclasses
import html
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Table:
  """A table; cells are text as the reader sees it.

  Attributes:
    title: above it.
    columns: names of the columns.
    rows: cells.
    note: below it.
  """

  title: str
  columns: Sequence[str]
  rows: Sequence[Sequence[str]]
  note: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
  """A picture with its caption: SVG of charts.py, or PNG.

  Attributes:
    name: of its file, without the suffix.
    caption: one or two sentences.
    svg: the picture as SVG.
    png: the picture as PNG, where there is no SVG.
    wide: takes the whole width of the page.
  """

  name: str
  caption: str
  svg: str = ""
  png: bytes = b""
  wide: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
  """A part of a page under a heading of its own.

  Attributes:
    title: heading; '' for none.
    tables: first.
    figures: then.
    note: below the heading.
    small: figures stand three in a row where there is room, not two, each
      below its caption.
    folded: the reader has to open it.
  """

  title: str
  tables: Sequence[Table] = ()
  figures: Sequence[Figure] = ()
  note: str = ""
  small: bool = False
  folded: bool = False


def render_page(
  title: str,
  *,
  facts: Mapping[str, str],
  tables: Sequence[Table],
  figures: Sequence[Figure],
  notes: Sequence[str] = (),
) -> str:
  """Returns the page.

  Args:
    title: heading.
    facts: what was run on what, name and value.
    tables: in reading order, before the figures.
    figures: in reading order.
    notes: sentences that belong to every number of the page.
  """
  return render_sections(
    title,
    [Section("", tables, figures)],
    facts=facts,
    notes=notes,
  )


def render_sections(
  title: str,
  sections: Sequence[Section],
  *,
  facts: Mapping[str, str],
  notes: Sequence[str] = (),
  reload_s: int | None = None,
) -> str:
  """Returns a page of several parts.

  Args:
    title: heading.
    sections: in reading order.
    facts: what was run on what, name and value; at the end.
    notes: sentences that belong to the whole page; below its heading.
    reload_s: seconds after which a browser shall read the page again.
  """
  reload = f'<meta http-equiv="refresh" content="{reload_s}">'
  parts = [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    reload if reload_s else "",
    f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
    f"<h1>{html.escape(title)}</h1>",
    *(f'<p class="note">{html.escape(note)}</p>' for note in notes),
    *map(_section, sections),
    "<h2>How it was made</h2><dl>",
    *(
      f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
      for name, value in facts.items()
    ),
    "</dl><footer>Not for clinical use.</footer></body></html>\n",
  ]
  return "".join(parts)


def markdown_table(table: Table) -> str:
  """Returns a table as Markdown, without title and note."""
  rows = [table.columns, ["---"] * len(table.columns), *table.rows]
  return "\n".join(
    "| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |"
    for row in rows
  )


def text_table(table: Table) -> str:
  """Returns a table in columns of one width each, for a terminal."""
  rows = [list(map(str, row)) for row in (table.columns, *table.rows)]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
    for row in rows
  )


def _section(section: Section) -> str:
  heading = f"<h2>{html.escape(section.title)}</h2>" if section.title else ""
  note = (
    f'<p class="note">{html.escape(section.note)}</p>' if section.note else ""
  )
  kind = "grid small" if section.small else "grid"
  figures = "".join(map(_figure, section.figures))
  body = (
    note
    + "".join(map(_table, section.tables))
    + (f'<div class="{kind}">{figures}</div>' if figures else "")
  )
  if section.folded:
    return f"<details><summary>{heading}</summary>{body}</details>"
  return heading + body


def _table(table: Table) -> str:
  head = "".join(f"<th>{html.escape(c)}</th>" for c in table.columns)
  body = "".join(
    "<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>"
    for row in table.rows
  )
  note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
  heading = f"<h2>{html.escape(table.title)}</h2>" if table.title else ""
  return (
    heading + f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
    f"<tbody>{body}</tbody></table></div>{note}"
  )


def _figure(figure: Figure) -> str:
  picture = figure.svg
  if not picture:
    data = base64.b64encode(figure.png).decode()
    alternative = html.escape(figure.caption, quote=True)
    picture = f'<img alt="{alternative}" src="data:image/png;base64,{data}">'
  kind = ' class="wide"' if figure.wide else ""
  return (
    f"<figure{kind}>{picture}"
    f"<figcaption>{html.escape(figure.caption)}</figcaption></figure>"
  )


_STYLE = (
  ":root{color-scheme:light dark;--line:#8884}*{box-sizing:border-box}"
  "body{margin:0 auto;max-width:1100px;padding:16px;"
  "font:16px/1.5 system-ui,sans-serif}"
  "h1{font-size:1.5rem;margin:.3em 0;overflow-wrap:anywhere}"
  "h2{font-size:1.1rem;margin:1.6em 0 .5em}"
  ".note{font-size:.88rem;opacity:.8;margin:.4em 0}"
  ".scroll{overflow-x:auto}"
  "table{border-collapse:collapse;font-size:.9rem;"
  "font-variant-numeric:tabular-nums}"
  "th,td{padding:4px 12px 4px 0;text-align:left;white-space:nowrap;"
  "border-bottom:1px solid var(--line)}th{font-weight:600}"
  ".grid{display:grid;gap:28px;grid-template-columns:1fr;margin-top:1.6em}"
  "@media(min-width:820px){.grid{grid-template-columns:repeat(2,1fr)}}"
  "@media(min-width:820px){.small{grid-template-columns:repeat(3,1fr)}}"
  ".small{gap:14px 28px;margin-top:.4em}"
  ".small figure{display:flex;flex-direction:column-reverse;"
  "justify-content:flex-end}"
  "summary{cursor:pointer}summary h2{display:inline-block;margin:1em 0 .5em}"
  "figure{margin:0;min-width:0}"
  # On a phone a wide figure is scrolled, not shrunk until nobody can read it.
  ".wide{grid-column:1/-1;overflow-x:auto}.wide svg{min-width:520px}"
  "img{display:block;max-width:100%;height:auto;border-radius:4px}"
  "figcaption{font-size:.85rem;padding-top:6px;opacity:.85}"
  "dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;"
  "font-size:.85rem}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}"
  "@media(max-width:560px){dl{grid-template-columns:1fr}dd{margin:0 0 6px}}"
  "footer{border-top:1px solid var(--line);margin-top:2em;padding:12px 0;"
  "font-size:.85rem;opacity:.75}"
)
