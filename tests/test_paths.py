"""Names of parameters and the tables over them."""

import pytest

from scan42_jax import paths

TREE = {"encoder": {"block_00": {"attn": {"kernel": 1}}, "norm": {"bias": 2}}}


def test_flatten_names_leaves_and_unflatten_undoes_it():
  flat = paths.flatten(TREE)
  assert flat == {"encoder/block_00/attn/kernel": 1, "encoder/norm/bias": 2}
  assert paths.unflatten(flat) == TREE


def test_the_first_matching_rule_decides():
  rules = [(r"kernel$", "first"), (r"attn", "second")]
  assert paths.first_match(rules, "encoder/attn/kernel") == "first"
  assert paths.first_match(rules, "encoder/attn/bias") == "second"


def test_an_uncovered_parameter_is_an_error():
  with pytest.raises(KeyError, match="encoder/norm/bias"):
    paths.first_match([(r"kernel$", 0)], "encoder/norm/bias")


def test_map_with_path_passes_leaves_of_all_trees():
  doubled = paths.map_with_path(lambda path, a, b: (path, a + b), TREE, TREE)
  assert doubled["encoder"]["norm"]["bias"] == ("encoder/norm/bias", 4)
