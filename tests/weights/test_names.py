"""Name tables: what one direction says, the other takes back."""

import pytest

from scan42_jax.weights.names import Field, NameTable, unchanged

TABLE = NameTable(
  [
    ("top.{kind}", "top/{kind}", "first"),
    ("layer.{number}.{kind}", "{number}/{kind}", "second"),
    ("layer.{number}.{any}", "{number}/other/{any}", "third"),
  ],
  {
    "kind": unchanged("weight|bias"),
    "any": unchanged(r"\w+"),
    "number": Field(
      theirs=r"\d+",
      ours=r"part_\d\d",
      to_ours=lambda text: f"part_{int(text):02d}",
      to_theirs=lambda text: str(int(text.removeprefix("part_"))),
    ),
  },
)


@pytest.mark.parametrize(
  "theirs, ours, value",
  [
    ("top.weight", "top/weight", "first"),
    ("layer.7.bias", "part_07/bias", "second"),
    ("layer.12.gain", "part_12/other/gain", "third"),
  ],
)
def test_both_directions(theirs, ours, value):
  assert TABLE.ours(theirs) == (ours, value)
  assert TABLE.theirs(ours) == (theirs, value)


def test_a_dot_is_a_dot_and_names_are_whole():
  for name in ("topXweight", "top.weights", "a.top.weight", "layer.x.bias", ""):
    assert TABLE.ours(name) is None
    assert TABLE.theirs(name) is None
