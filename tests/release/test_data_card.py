"""The data card says what is known, and that the rest is not."""

from scan42_jax.release.data_card import render_data_card

ORIGIN = {
  "kind": "run",
  "data": [
    {
      "name": "chexpert",
      "split": "train",
      "films": 223414,
      "manifest_sha256": "ab12",
    },
    {"name": "ours", "split": "train", "films": None},
  ],
  "settings": {
    "data": {
      "equalize": True,
      "canvas_px": 1280,
      "exclusions": ["leakage"],
      "weights": [3, 1],
    },
    "crops": {"global_size_px": 518, "num_local": 8, "local_size_px": 98},
  },
}


def test_films_terms_and_preparation():
  card = render_data_card(ORIGIN)
  assert "| `chexpert` | train | 223,414 | Stanford" in card
  assert "`ab12`" in card
  assert "| `ours` | train | unknown | unknown | `unknown` |" in card
  assert "| left out by lists | `leakage` |" in card
  assert "[3, 1] films of each in turn" in card
  assert "of patients" in card


def test_drawn_films_are_nobodys():
  films = [{"name": "phantom", "split": "train", "films": 9}]
  card = render_data_card(ORIGIN | {"data": films})
  assert "nobody is in them" in card and "of patients" not in card


def test_converted_weights_have_unknown_data():
  card = render_data_card({"kind": "converted", "start": {"name": "a/b"}})
  assert "`a/b`" in card and "unknown" in card
