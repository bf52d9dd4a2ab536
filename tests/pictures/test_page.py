"""The page: nothing from outside, every text escaped, every picture inside."""

import base64
import html.parser
import re

from scan42_jax.pictures import page

HOSTILE = "<script>alert('x')</script>\"&.png"


class _Reader(html.parser.HTMLParser):
  """Collects tags with their attributes, and the text."""

  def __init__(self):
    super().__init__()
    self.tags, self.text, self.open = [], "", []

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in ("meta", "img"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data


def _page():
  figures = [
    page.Figure(name="a", png=b"png", jpeg=b"jpeg-a", caption=HOSTILE),
    page.Figure(
      name="b", png=b"png", jpeg=b"jpeg-b", caption=HOSTILE, folded=True
    ),
  ]
  film = page.FilmPictures(
    stem="film_1", title=HOSTILE, subtitle=HOSTILE, figures=figures
  )
  return (
    page.page_start(HOSTILE, facts=[(HOSTILE, HOSTILE)], notes=[HOSTILE])
    + page.page_contents([HOSTILE])
    + page.film_section(1, film)
    + page.page_end(HOSTILE)
  )


def test_every_text_is_escaped():
  reader = _Reader()
  reader.feed(_page())
  assert not reader.open
  assert "script" not in {tag for tag, _ in reader.tags}
  assert reader.text.count(HOSTILE) >= 9
  images = [attrs for tag, attrs in reader.tags if tag == "img"]
  assert all(set(attrs) == {"alt", "src"} for attrs in images)
  assert all(HOSTILE in attrs["alt"] for attrs in images)


def test_pictures_are_inside_and_nothing_comes_from_outside():
  text = _page()
  data = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
  assert [base64.b64decode(d) for d in data] == [b"jpeg-a", b"jpeg-b"]
  reader = _Reader()
  reader.feed(text)
  for _, attrs in reader.tags:
    for name in ("src", "href"):
      if name in attrs:
        assert re.match(r"data:|#", attrs[name]), attrs
  assert "url(" not in text and "@import" not in text


def test_links_lead_to_the_films():
  reader = _Reader()
  reader.feed(_page())
  links = [attrs["href"][1:] for tag, attrs in reader.tags if tag == "a"]
  ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
  assert links == ids == ["film-1"]
