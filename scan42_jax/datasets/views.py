"""Which view positions are frontal; the rest of a header is not judged here."""

FRONTAL = "FRONTAL"
"""Frontal, but whether PA or AP is not known."""
LATERAL = "LATERAL"

_LATERAL = {"L", "LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT", "SWIMMERS"}
_OBLIQUE = {"LAO", "RAO", "LPO", "RPO", "LLO", "RLO", "OBLIQUE"}
# PadChest's words for films of the ribs, and for films of no use.
_OTHER = {"COSTAL", "EXCLUDE"}


def off_frontal(view: str) -> str:
  """Says why a view is not frontal.

  Args:
    view: view position as a table or a header spells it.

  Returns:
    'lateral view', 'oblique view' or 'other view'; '' for frontal and for
    unknown views.
  """
  words = set(view.upper().replace("_", " ").split())
  if words & _LATERAL:
    return "lateral view"
  if words & _OBLIQUE:
    return "oblique view"
  return "other view" if words & _OTHER else ""
