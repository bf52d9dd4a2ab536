"""What differs between two configs, older ones among them."""

from scan42_jax.run_report.differences import ABSENT, differences, flat


def test_every_leaf_that_differs_is_named_with_both_values():
  before = {"a": 1, "b": {"c": [1, 2], "d": "x"}}
  now = {"a": 1, "b": {"c": [1, 3], "d": "x", "e": None}}
  assert differences(before, now) == {
    "b.c": ([1, 2], [1, 3]),
    "b.e": (ABSENT, None),
  }
  assert differences(now, now) == {}


def test_flat_names():
  assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}
