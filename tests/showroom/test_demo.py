"""The demo in a real browser, where there is one."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import film_trees
import pytest

ROOT = pathlib.Path(__file__).parents[2]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def _free_port():
  with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    return one.getsockname()[1]


@pytest.fixture(scope="module")
def demo(encoder_folder, writer, tmp_path_factory):
  """Yields address and folder of films of a running demo."""
  pytest.importorskip("gradio")
  folder = tmp_path_factory.mktemp("demo")
  for i in range(3):
    film_trees.write_film(folder / "films" / f"film_{i}.png", seed=i)
  port = _free_port()
  process = subprocess.Popen(
    [
      *(sys.executable, "-m", "scan42_jax.demo", f"--encoder={encoder_folder}"),
      *(f"--films={folder / 'films'}", f"--port={port}", "--max_mb=1"),
      f"--head={writer[0]}",
    ],
    cwd=ROOT,
    env=os.environ | {"XLA_FLAGS": ""},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  lines = []
  for line in process.stdout:
    lines.append(line)
    if line.startswith("open http"):
      break
  else:
    pytest.fail("".join(lines))
  yield f"http://127.0.0.1:{port}", folder / "films"
  process.terminate()
  process.wait(timeout=60)


@pytest.fixture
def page(demo):
  sync_api = pytest.importorskip("playwright.sync_api")
  if BROWSER is None:
    pytest.skip("no Chromium here")
  with sync_api.sync_playwright() as play:
    browser = play.chromium.launch(
      executable_path=BROWSER,
      args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    )
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    _open(page, demo[0])
    yield page
    browser.close()


def _open(page, address):
  for attempt in range(60):
    try:
      page.goto(address)
      return
    except Exception:  # The server may not listen yet.
      if attempt == 59:
        raise
      page.wait_for_timeout(500)


def _connect(port):
  for attempt in range(120):
    try:
      return socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:  # It may not listen yet.
      if attempt == 119:
        raise
      time.sleep(0.5)


def _drop(page, name, data):
  page.set_input_files(
    "input[type=file]",
    files=[{"name": name, "mimeType": "image/png", "buffer": data}],
  )


def test_a_film_is_dropped_and_seen(page, demo, writer):
  film = (demo[1] / "film_1.png").read_bytes()
  _drop(page, "mine.png", film)
  page.get_by_text("film_1.png, similarity 1.000").first.wait_for(
    timeout=120_000
  )
  page.wait_for_timeout(2000)
  # The browser has got every picture: film, maps, and three near films.
  widths = page.evaluate(
    "[...document.querySelectorAll('img')].map(x => x.naturalWidth)"
  )
  assert len(widths) >= 8 and min(widths) > 0
  assert page.get_by_text("Not for clinical use").count() >= 1
  box = page.get_by_label("Generated findings")
  assert box.input_value() == writer[1]
  assert page.get_by_text("written by a machine").count() == 1
  assert page.title() == "Chest X-ray encoder"
  outside = [
    url
    for url in page.asked
    if not re.match(r"(http|ws)://127\.0\.0\.1|data:|blob:", url)
  ]
  assert not outside
  if folder := os.environ.get("SCAN42_SCREENSHOTS"):
    page.screenshot(path=f"{folder}/demo.png", full_page=True)


def test_what_is_no_film_is_said(page):
  _drop(page, "letter.png", b"no film at all")
  page.get_by_text("neither DICOM, PNG nor JPEG").first.wait_for(timeout=60_000)


def test_a_large_upload_is_refused(page):
  _drop(page, "large.png", bytes(2_000_000))
  page.get_by_text(re.compile("too large|maximum", re.I)).first.wait_for(
    timeout=60_000
  )


def test_it_listens_on_this_machine_alone(demo):
  port = int(demo[0].rsplit(":", 1)[1])
  _connect(port)
  # Who listens on all addresses is found on this one, too.
  with pytest.raises(ConnectionRefusedError):
    socket.create_connection(("127.0.0.2", port), timeout=10)
