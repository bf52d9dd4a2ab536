"""What the demo finds in a film, without a browser."""

import film_trees
import numpy as np
import pytest

from scan42_jax.showroom.looking import Neighbours, Showroom, read_neighbours


@pytest.fixture
def films(tmp_path):
  for i in range(3):
    film_trees.write_film(tmp_path / "films" / f"{i}.png", seed=i)
  return tmp_path / "films"


def test_a_film_is_its_own_nearest(encoder, films):
  said = []
  (films / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
  room = Showroom(
    encoder, neighbours=read_neighbours(encoder, films, said.append)
  )
  assert "broken.png" in said[0] and "3 films" in said[-1]
  shown = room.look(films / "1.png")
  captions = [caption for _, caption in shown.neighbours]
  assert captions[0] == "1.png, similarity 1.000"
  assert len(captions) == 3
  assert any("Attention" in caption for _, caption in shown.pictures)
  assert any("components" in caption for _, caption in shown.pictures)
  assert shown.findings == [] and shown.texts == []


def test_a_writer_says_what_it_learnt(encoder, films, writer):
  room = Showroom(encoder, heads=[writer[0]])
  assert room.sections == ["findings"]
  assert room.look(films / "1.png").texts == [writer[1]]


def test_nearest_are_ordered_by_cosine():
  tokens = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
  near = Neighbours(["a", "b", "c"], tokens).nearest(np.array([9.0, 1.0]), 2)
  assert [name for name, _ in near] == ["a", "c"]
  assert near[0][1] == pytest.approx(9 / np.hypot(9, 1))


def test_what_is_no_film_is_said_without_its_path(encoder, tmp_path):
  file = tmp_path / "secret" / "letter.txt"
  file.parent.mkdir()
  file.write_text("no film")
  with pytest.raises(ValueError, match="letter") as error:
    Showroom(encoder).look(file)
  assert "secret" not in str(error.value)


def test_heads_that_are_none_are_named(encoder, tmp_path):
  with pytest.raises((FileNotFoundError, ValueError), match=str(tmp_path)):
    Showroom(encoder, heads=[tmp_path])
