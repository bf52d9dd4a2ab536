"""Which view positions are frontal; the rest of a header is not judged here."""

FRONTAL = "FRONTAL"
"""Frontal, but whether PA or AP is not known."""
LATERAL = "LATERAL"

_LATERAL = {"L", "LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT"}
_OBLIQUE = {"LAO", "RAO", "LPO", "RPO", "LLO", "RLO", "OBLIQUE"}


def off_frontal(view: str) -> str:
  """Says why a view is not frontal.

  Args:
    view: view position as a table or a header spells it.

  Returns:
    'lateral view' or 'oblique view'; '' for frontal and for unknown views.
  """
  words = set(view.upper().replace("_", " ").split())
  if words & _LATERAL:
    return "lateral view"
  return "oblique view" if words & _OBLIQUE else ""
