"""Parts: whole or absent, in order, and of one extraction."""

import json

import numpy as np
import pytest

from scan42_jax.extraction import parts
from scan42_jax.extraction.parts import Parts

IDENTITY = {"encoder": {"width": 3}, "batch_size": 2}


def _columns(first, end):
  index = np.arange(first, end)
  return {
    "image_id": np.array([f"film {i}" for i in index]),
    "cls": np.float32(index[:, None] * [1, 10]),
  }


def _ids(finished):
  return [text for part in finished for text in part["image_id"].tolist()]


def test_what_was_added_comes_back_in_order(tmp_path):
  with Parts(tmp_path / "p", IDENTITY) as finished:
    finished.add(_columns(0, 3), done=3)
    finished.add({"refused_file": np.array(["b"])}, done=4)
    finished.flush()
    finished.add(_columns(4, 6), done=6)
  with Parts(tmp_path / "p", IDENTITY) as finished:
    assert finished.done == 6
    first, second = finished
    assert first["refused_file"].tolist() == ["b"]
    np.testing.assert_array_equal(first["cls"], _columns(0, 3)["cls"])
    assert second["image_id"].tolist() == ["film 4", "film 5"]


def test_an_exception_keeps_what_is_held(tmp_path):
  with pytest.raises(KeyboardInterrupt), Parts(tmp_path, IDENTITY) as finished:
    finished.add(_columns(0, 2), done=2)
    raise KeyboardInterrupt
  with Parts(tmp_path, IDENTITY) as finished:
    assert finished.done == 2 and _ids(finished) == ["film 0", "film 1"]


def test_a_full_part_is_written_at_once(tmp_path, monkeypatch):
  monkeypatch.setattr(parts, "_PART_BYTES", 100)
  with Parts(tmp_path, IDENTITY) as finished:
    finished.add(_columns(0, 1), done=1)
    assert not list(tmp_path.glob("*.npz"))
    finished.add(_columns(1, 9), done=9)
    assert [p.name for p in tmp_path.glob("*.npz")] == [
      "000000000-000000009.npz"
    ]


def test_a_gap_ends_what_is_done(tmp_path):
  with Parts(tmp_path, IDENTITY) as finished:
    for first in range(0, 6, 2):
      finished.add(_columns(first, first + 2), done=first + 2)
      finished.flush()
  (tmp_path / "000000002-000000004.npz").unlink()
  with Parts(tmp_path, IDENTITY) as finished:
    assert finished.done == 2
    assert _ids(finished) == ["film 0", "film 1"]


def test_a_half_written_part_is_swept_away(tmp_path):
  with Parts(tmp_path, IDENTITY) as finished:
    finished.add(_columns(0, 2), done=2)
  whole = (tmp_path / "000000000-000000002.npz").read_bytes()
  (tmp_path / "000000002-000000004.npz.tmp").write_bytes(whole[:40])
  with Parts(tmp_path, IDENTITY) as finished:
    assert finished.done == 2
  assert not list(tmp_path.glob("*.tmp"))


def test_a_damaged_part_is_named(tmp_path):
  with Parts(tmp_path, IDENTITY) as finished:
    finished.add(_columns(0, 2), done=2)
  path = tmp_path / "000000000-000000002.npz"
  for damaged in (path.read_bytes()[:60], b"no archive", b""):
    path.write_bytes(damaged)
    with (
      Parts(tmp_path, IDENTITY) as finished,
      pytest.raises(ValueError, match=rf"{path.name} is damaged; remove it"),
    ):
      list(finished)


def test_another_extraction_is_refused_and_named(tmp_path):
  with Parts(tmp_path, IDENTITY) as finished:
    finished.add(_columns(0, 2), done=2)
  before = {p: p.read_bytes() for p in tmp_path.iterdir()}
  for name, value in (("batch_size", 4), ("encoder", {"width": 4})):
    words = name.replace("_", " ")
    with pytest.raises(ValueError, match=f"begun with another {words}"):
      Parts(tmp_path, IDENTITY | {name: value}).__enter__()
  assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
  assert json.loads((tmp_path / "identity.json").read_text()) == IDENTITY


def test_one_process_at_a_time(tmp_path):
  with (
    Parts(tmp_path, IDENTITY),
    pytest.raises(OSError, match="another process"),
  ):
    Parts(tmp_path, IDENTITY).__enter__()
  with Parts(tmp_path, IDENTITY) as finished:
    assert finished.done == 0
