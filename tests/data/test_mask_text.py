"""Run lengths and outlines of masks."""

import csv
import gzip

import golden_files
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from scan42_jax.data import mask_text


def test_golden_runs(golden_dir):
  arrays, meta = golden_files.load(golden_dir / "rle.npz")
  size = {"height": meta["height"], "width": meta["width"]}
  assert len(meta["rle"]) == len(arrays)
  for name, text in meta["rle"].items():
    mask = arrays[f"mask/{name}"]
    assert mask_text.encode_runs(mask) == text
    np.testing.assert_array_equal(mask_text.decode_runs(text, **size), mask)


@hypothesis.given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_masks_survive_the_round_trip(height, width, data):
  bits = st.lists(st.booleans(), min_size=height * width)
  flat = np.array(data.draw(bits)[: height * width])
  mask = flat.reshape(height, width)
  text = mask_text.encode_runs(mask)
  found = mask_text.decode_runs(text, height=height, width=width)
  np.testing.assert_array_equal(found, mask)


def test_runs_may_overlap_and_lack_order():
  found = mask_text.decode_runs("5 2 1 3 2 2", height=2, width=4)
  np.testing.assert_array_equal(
    found, [[True, True, True, False], [True, True, False, False]]
  )


@pytest.mark.parametrize(
  "text, message",
  [
    ("1 2 3", "end in a start: 3 numbers"),
    ("1 x", "something else than numbers"),
    ("1 2.5", "something else than numbers"),
    ("1 99999999999999999999", "something else than numbers"),
    ("0 2", "run '0 2' leaves the mask of 2 x 3 pixels"),
    ("1 1 6 2", "run '6 2' leaves"),
    ("7 1", "run '7 1' leaves"),
    ("2 0", "run '2 0' leaves"),
    ("2 -1", "run '2 -1' leaves"),
    ("9223372036854775807 9223372036854775807", "leaves the mask"),
  ],
)
def test_faulty_runs_are_named(text, message):
  with pytest.raises(ValueError, match=message):
    mask_text.decode_runs(text, height=2, width=3)


def test_outlines_of_known_area():
  square = np.array([[1, 1], [5, 1], [5, 4], [1, 4]])
  expected = np.zeros((6, 8), bool)
  expected[1:4, 1:5] = True
  for points in (square, square[::-1], np.roll(square, 1, 0)):
    found = mask_text.fill_outline(points, height=6, width=8)
    np.testing.assert_array_equal(found, expected)
  far = np.array([[-50, -50], [50, -50], [50, 50], [-50, 50]])
  assert mask_text.fill_outline(far, height=6, width=8).all()
  assert not mask_text.fill_outline(far + 200, height=6, width=8).any()


def test_outline_of_a_circle():
  angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
  points = 100 + 60 * np.stack([np.cos(angles), np.sin(angles)], -1)
  rows, columns = np.mgrid[:210, :220]
  disc = (rows - 100) ** 2 + (columns - 100) ** 2 < 60**2
  found = mask_text.fill_outline(points, height=210, width=220)
  assert (found != disc).sum() < 0.005 * disc.sum()


def test_golden_real_masks_are_their_outlines(real_data_dir):
  tables = sorted((real_data_dir / "chexmask/Preprocessed").glob("*.csv.gz"))
  assert len(tables) == 6
  organs = {
    "Right Lung": slice(0, 44),
    "Left Lung": slice(44, 94),
    "Heart": slice(94, 120),
  }
  size = {"height": 1024, "width": 1024}
  for path in tables:
    with gzip.open(path, "rt") as stream:
      for cells in csv.DictReader(stream):
        points = np.array(cells["Landmarks"].split(","), float).reshape(-1, 2)
        for organ, part in organs.items():
          mask = mask_text.decode_runs(cells[organ], **size)
          assert mask_text.encode_runs(mask) == cells[organ]
          drawn = mask_text.fill_outline(points[part], **size)
          dice = 2 * (mask & drawn).sum() / (mask.sum() + drawn.sum())
          assert dice >= 0.99, (path.name, organ, dice)
