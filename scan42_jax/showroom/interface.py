"""The page of the demo, and the server behind it. The only importer of Gradio.

Listens on this machine alone, sends nothing anywhere, asks for nothing from
outside, and forgets uploads when it ends.
"""

from __future__ import annotations

import os
import pathlib
import tempfile

# Read when Gradio is imported: no statistics, no look for new versions.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import gradio

from scan42_jax.showroom.looking import Showroom

HOST = "127.0.0.1"
_NOTE = (
  "**Not for clinical use.** Films stay on this machine and are forgotten when"
  " the program ends."
)
# Every picture is shown; on a phone one above the other, with its caption.
_STYLE = (
  ".grid-wrap{max-height:none !important;min-height:0 !important}"
  "@media(max-width:600px){.grid-container{"
  "grid-template-columns:minmax(0,1fr) !important}}"
)
_WRITTEN = (
  "**Generated texts are written by a machine**: they may be wrong or"
  " incomplete."
)
_KEEP_S = 600  # After which uploads are deleted while it runs.


def build(room: Showroom, *, title: str) -> gradio.Blocks:
  """Builds the page; files go where GRADIO_TEMP_DIR says by then.

  Args:
    room: what looks at films.
    title: says which encoder that is.
  """

  def look(file):
    if file is None:
      return "", [], [], [], *[""] * len(room.sections)
    try:
      shown = room.look(pathlib.Path(file))
    except ValueError as error:
      raise gradio.Error(str(error), duration=None) from None
    rows = [list(row) for row in shown.findings]
    return shown.subtitle, shown.pictures, rows, shown.neighbours, *shown.texts

  with gradio.Blocks(
    title="Chest X-ray encoder",
    analytics_enabled=False,
    delete_cache=(_KEEP_S, _KEEP_S),
  ) as page:
    gradio.Markdown(f"# Chest X-ray encoder\n\n{title}\n\n{_NOTE}")
    file = gradio.File(label="A film: DICOM, PNG or JPEG", type="filepath")
    facts = gradio.Markdown()
    findings = gradio.Dataframe(
      label="Findings, as the heads see them",
      headers=["finding", "probability", "called"],
      interactive=False,
      visible=room.has_findings,
    )
    gradio.Markdown(_WRITTEN, visible=bool(room.sections))
    # Shows texts letter by letter, whatever marks of HTML are in them.
    texts = [
      gradio.Textbox(label=f"Generated {section}", interactive=False)
      for section in room.sections
    ]
    pictures = _gallery("What the encoder sees", columns=3)
    neighbours = _gallery(
      "Nearest films", columns=4, visible=room.has_neighbours
    )
    file.change(
      look,
      inputs=file,
      outputs=[facts, pictures, findings, neighbours, *texts],
      api_name=False,
    )
  return page


def _gallery(label: str, **layout) -> gradio.Gallery:
  return gradio.Gallery(
    label=label,
    format="png",
    height="auto",
    object_fit="contain",
    interactive=False,
    **layout,
  )


def serve(room: Showroom, *, title: str, port: int, max_mb: int) -> None:
  """Serves the page until it is interrupted.

  Args:
    room: what looks at films.
    title: see `build`.
    port: on the loopback interface.
    max_mb: largest upload.

  Raises:
    OSError: the port is taken.
  """
  with tempfile.TemporaryDirectory(prefix="scan42_demo_") as files:
    os.environ["GRADIO_TEMP_DIR"] = files
    build(room, title=title).launch(
      server_name=HOST,
      server_port=port,
      max_file_size=f"{max_mb}mb",
      share=False,
      quiet=True,
      show_error=True,
      theme=_theme(),
      css=_STYLE,
      footer_links=[],
    )


def _theme():
  """Fonts of the machine: Gradio's own would be asked for from outside."""
  return gradio.themes.Base(
    font=["system-ui", "sans-serif"], font_mono=["monospace"]
  )
