"""Parameters by name: every per-parameter decision is a table over a path.

A leaf of a parameter tree is named by the keys that lead to it, joined by '/':
'encoder/block_03/attn/qkv/kernel'. Learning-rate multipliers, weight decay,
freezing, sharding and conversion are ordered lists of (regular expression,
value), and the first expression that matches decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax

Rules = Sequence[tuple[str, Any]]


def path_name(key_path: Sequence[Any]) -> str:
  """Joins the keys of a jax key path with '/'."""
  return jax.tree_util.keystr(key_path, simple=True, separator="/")


def map_with_path(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
  """Maps `function(path, leaf, *leaves of rest)` over a tree."""
  return jax.tree_util.tree_map_with_path(
    lambda key_path, *leaves: function(path_name(key_path), *leaves),
    tree,
    *rest,
  )


def flatten(tree: Any) -> dict[str, Any]:
  """Returns the leaves of a tree by path."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {path_name(key_path): leaf for key_path, leaf in leaves}


def unflatten(leaves: dict[str, Any]) -> dict[str, Any]:
  """Builds the nested dict whose `flatten` is `leaves`."""
  tree: dict[str, Any] = {}
  for path, leaf in leaves.items():
    *parents, name = path.split("/")
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = leaf
  return tree


def first_match(rules: Rules, path: str) -> Any:
  """Returns the value of the first rule found in `path`.

  Raises:
    KeyError: no rule covers the path; a silent default would hide a misspelt
      parameter.
  """
  for pattern, value in rules:
    if re.search(pattern, path):
      return value
  raise KeyError(f"no rule covers parameter {path!r}")
