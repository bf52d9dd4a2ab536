"""Cuts a radiology report into its sections, by the rules of MIMIC-CXR.

The rules are those with which the owners of MIMIC-CXR count its sections
(github.com/MIT-LCP/mimic-cxr, txt/section_parser.py), so that findings and
impressions are the ones that others train on and score. Text in, text out.
"""

import dataclasses
import re

_HEAD = re.compile(r"\n ([A-Z ()/,-]+):\s")
_PARAGRAPH = "\n \n"

_MEANINGS = {
  "impression": (
    "conclusion",
    "findings and impression",
    "findings/impression",
    "findings/ impression",
    "impresson",
    "imprression",
    "imoression",
    "impressoin",
    "imprssion",
    "impresion",
    "imperssion",
    "mpression",
    "impession",
    "ndication",  # An indication cut short, but so it is counted there.
  ),
  "findings": (
    "chest, two views",
    "reference findings",
    "finding",
    "findins",
    "findindgs",
    "findgings",
    "findngs",
    "findnings",
    "finidngs",
  ),
  "indication": (
    "reason for examination",
    "reason for exam",
    "clinical indication",
    "idication",
  ),
  "history": ("clinical information", "pfi"),
  # Sections that are not kept, lest a word in their heads be taken for one.
  "comparison": ("reference exam",),
  "examination": ("exam", "type of examination"),
  "recommendations": ("recommendation(s)", "recommendation"),
}
_KNOWN = {
  spelling: meaning
  for meaning, spellings in _MEANINGS.items()
  for spelling in (meaning, *spellings)
}
# In this order: a name that holds several of them is the first.
_MAIN = ("impression", "findings", "history", "comparison", "addendum")
# Heads that describe the film taken stand before what is seen on it.
_FILM = re.compile(
  r"chest|portable|pa and lateral|lateral and pa|ap and lateral|"
  r"lateral and ap|frontal and|two views|frontal view|pa view|ap view|"
  r"one view|lateral view|bone window|frontal upright|frontal semi-upright|"
  r"ribs|pa and lat"
)

# Texts of MIMIC-CXR in which the rules fail: either the name of the section
# that holds the findings, or where these begin and end; (0, 0) for none.
_SECTION_OF_STUDY = {
  "s50913680": "recommendations",
  "s59363654": "examination",
  "s59279892": "technique",
  "s59768032": "recommendations",
  "s57936451": "indication",
  "s50058765": "indication",
  "s53356173": "examination",
  "s53202765": "technique",
  "s50808053": "technique",
  "s51966317": "indication",
  "s50743547": "examination",
  "s56451190": "note",
  "s59067458": "recommendations",
  "s59215320": "examination",
  "s55124749": "indication",
  "s54365831": "indication",
  "s59087630": "recommendations",
  "s58157373": "recommendations",
  "s56482935": "recommendations",
  "s58375018": "recommendations",
  "s54654948": "indication",
  "s55157853": "examination",
  "s51491012": "history",
}
_SPAN_OF_STUDY = {
  "s50525523": (201, 349),
  "s57564132": (233, 554),
  "s59982525": (313, 717),
  "s53488209": (149, 475),
  "s54875119": (234, 988),
  "s50196495": (59, 399),
  "s56579911": (59, 218),
  "s52648681": (292, 631),
  "s59889364": (172, 453),
  "s53514462": (73, 377),
  "s59505494": (59, 450),
  "s53182247": (59, 412),
  "s51410602": (47, 320),
  "s56412866": (522, 822),
  "s54986978": (59, 306),
  "s59003148": (262, 505),
  "s57150433": (61, 394),
  "s56760320": (219, 457),
  "s59562049": (158, 348),
  "s52674888": (145, 296),
  "s55258338": (192, 568),
  "s59330497": (140, 655),
  "s52119491": (179, 454),
  "s58235663": (0, 0),
  "s50798377": (0, 0),
  "s54168089": (0, 0),
  "s53071062": (0, 0),
  "s56724958": (0, 0),
  "s54231141": (0, 0),
  "s53607029": (0, 0),
  "s52035334": (0, 0),
}
# Parts texts that were put together: an addendum, a first reading, the report.
_RULE = re.compile(r"\n[ \t]*_{20,}[ \t]*(?:\n|$)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sections:
  """What a report says, on one line each; '' where it has no such section.

  Attributes:
    findings: what is seen.
    impression: what it means. Of a report with neither section it is all that
      follows the first paragraph of its last section, which is where untitled
      reports are written down.
    indication: why the film was taken, else the history.
  """

  findings: str = ""
  impression: str = ""
  indication: str = ""


def split_report(text: str, *, study: str = "") -> Sections:
  """Cuts a report.

  A section begins with a line that opens with a blank and capitals up to a
  colon. Of several with one meaning the last counts, since corrections and the
  final report stand below first readings.

  Args:
    text: the report as it is stored, with its line breaks.
    study: id of the study, 's50414267'; some of MIMIC-CXR have rules of their
      own.
  """
  if study in _SPAN_OF_STUDY:
    first, last = _SPAN_OF_STUDY[study]
    return Sections(impression=_one_line(text[first:last]))
  parts = _cut(text)
  named = dict(parts)  # The last of each name.
  if study in _SECTION_OF_STUDY:
    named["impression"] = named.get(_SECTION_OF_STUDY[study], "")
  elif "findings" not in named and "impression" not in named:
    name, section = parts[-1]
    named[name], _, named["impression"] = section.partition(_PARAGRAPH)
  lines = {name: _one_line(section) for name, section in named.items()}
  return Sections(
    findings=lines.get("findings", ""),
    impression=lines.get("impression", ""),
    indication=lines.get("indication") or lines.get("history", ""),
  )


def section_meaning(head: str) -> str:
  """Returns what a section is called after its head, in small letters.

  'FINDINGS AND IMPRESSION' is 'impression', 'PA AND LATERAL CHEST' is
  'findings'; a head without a rule keeps its own words.
  """
  head = head.strip().lower()
  if head in _KNOWN:
    return _KNOWN[head]
  for name in _MAIN:
    if name in head:
      return name
  return "findings" if _FILM.search(head) else head


def _cut(text: str) -> list[tuple[str, str]]:
  """Returns names and texts of the sections, without empty results."""
  heads, position = [], 0
  while match := _HEAD.search(text, position):
    heads.append(match)
    # A line has one head, so 'COMPARISON: CHEST: none' is no chest section.
    position = max(text.find("\n", match.end()), match.end())
  if not heads:
    return [("full report", text)]
  sections = [("preamble", text[: heads[0].start()])]
  ends = [head.start() for head in heads[1:]] + [len(text)]
  for head, end in zip(heads, ends, strict=True):
    section, *_ = _RULE.split(text[head.end() : end], maxsplit=1)
    name = section_meaning(head[1])
    if section.strip() or name not in ("findings", "impression"):
      sections.append((name, section))
  return sections


def _one_line(text: str) -> str:
  return " ".join(text.split())
