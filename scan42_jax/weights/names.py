"""Tables of parameter names that are read in both directions.

A row pairs two templates, 'blocks.{block}.ls{n}.gamma' and
'{block}/scale{n}/gamma'; fields say what may stand in the braces on either
side. Knows no network.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Field:
  """The varying part of a name.

  Attributes:
    theirs: regular expression of it in their names.
    ours: the same in ours.
    to_ours: translates it.
    to_theirs: translates it back.
  """

  theirs: str
  ours: str
  to_ours: Callable[[str], str] = str
  to_theirs: Callable[[str], str] = str


def unchanged(pattern: str) -> Field:
  """Returns a field that reads the same on both sides."""
  return Field(pattern, pattern)


class NameTable(Generic[T]):
  """Rows of (their template, our template, value); the first match decides.

  Args:
    rows: templates with fields in braces, and what belongs to the row.
    fields: by the name in the braces.
  """

  def __init__(
    self, rows: Sequence[tuple[str, str, T]], fields: Mapping[str, Field]
  ):
    theirs = {name: field.theirs for name, field in fields.items()}
    ours = {name: field.ours for name, field in fields.items()}
    self._to_ours = {name: field.to_ours for name, field in fields.items()}
    self._to_theirs = {name: field.to_theirs for name, field in fields.items()}
    self._read = [(_compile(a, theirs), b, value) for a, b, value in rows]
    self._write = [(_compile(b, ours), a, value) for a, b, value in rows]

  def ours(self, name: str) -> tuple[str, T] | None:
    """Returns our name for theirs and the row's value; None if unknown."""
    return _translate(self._read, name, self._to_ours)

  def theirs(self, name: str) -> tuple[str, T] | None:
    """Returns their name for ours and the row's value; None if unknown."""
    return _translate(self._write, name, self._to_theirs)


def _compile(template: str, patterns: Mapping[str, str]) -> re.Pattern:
  """Makes an expression whose groups are named as the fields."""
  literal_or_field = re.split(r"\{(\w+)\}", template)
  for i, part in enumerate(literal_or_field):
    literal_or_field[i] = (
      f"(?P<{part}>{patterns[part]})" if i % 2 else re.escape(part)
    )
  return re.compile("".join(literal_or_field))


def _translate(
  rows: Sequence[tuple[re.Pattern, str, T]],
  name: str,
  convert: Mapping[str, Callable[[str], str]],
) -> tuple[str, T] | None:
  for pattern, template, value in rows:
    match = pattern.fullmatch(name)
    if match:
      fields = {k: convert[k](v) for k, v in match.groupdict().items()}
      return template.format(**fields), value
  return None
