"""Sections of reports by the rules of MIMIC-CXR."""

import pytest

from scan42_jax.datasets import report_sections
from scan42_jax.datasets.report_sections import Sections, split_report


def _written(text: str) -> str:
  """Each line of a text of MIMIC-CXR opens with a blank, empty ones too."""
  return "".join(f" {line}\n" for line in text.splitlines())


FULL = _written("""                          FINAL REPORT
EXAMINATION:  CHEST (PA AND LAT)

INDICATION:  ___ year old woman with cough and
fever.

COMPARISON:  CHEST: ___.

FINDINGS:

The lungs are clear.  There is no
effusion.

The heart is normal.

IMPRESSION:

No acute process.
""")

ADDENDUM = _written("""                          ADDENDUM
IMPRESSION:  A nodule was missed.

______________________________________________________________________________
                                FINAL REPORT
HISTORY:  Smoker.

FINDINGS:  Clear.
""")


def test_sections_of_a_report():
  assert split_report(FULL) == Sections(
    findings="The lungs are clear. There is no effusion. The heart is normal.",
    impression="No acute process.",
    indication="___ year old woman with cough and fever.",
  )


def test_an_addendum_ends_at_the_line_below_it():
  assert split_report(ADDENDUM) == Sections(
    findings="Clear.", impression="A nodule was missed.", indication="Smoker."
  )


def test_the_last_section_of_a_name_counts():
  text = "\n IMPRESSION: First.\n \n IMPRESSION: Second.\n"
  assert split_report(text).impression == "Second."


@pytest.mark.parametrize(
  ("head", "meaning"),
  [
    ("FINDINGS AND IMPRESSION", "impression"),
    ("CONCLUSION", "impression"),
    ("IMPRESSON", "impression"),
    ("IMPRSSION", "impression"),
    ("IMPRESION", "impression"),
    ("MPRESSION", "impression"),
    ("IMPESSION", "impression"),
    ("FINAL IMPRESSION", "impression"),
    ("CHEST, TWO VIEWS", "findings"),
    ("PA AND LATERAL CHEST", "findings"),
    ("REASON FOR EXAM", "indication"),
    ("REASON FOR EXAMINATION", "indication"),
    ("CLINICAL INDICATION", "indication"),
    ("COMPARISON EXAM", "comparison"),
    ("REFERENCE EXAM", "comparison"),
    ("EXAM", "examination"),
    ("CLINICAL HISTORY", "history"),
    ("NOTIFICATION", "notification"),
  ],
)
def test_heads(head, meaning):
  assert report_sections.section_meaning(head) == meaning


def test_heads_are_capitals_after_a_blank():
  text = "\n FINDINGS: Clear.\n Impression: small.\nIMPRESSION: flush.\n"
  assert split_report(text) == Sections(
    findings="Clear. Impression: small. IMPRESSION: flush."
  )


def test_empty_sections_do_not_hide_full_ones():
  text = "\n FINDINGS: Clear.\n \n FINDINGS: \n \n IMPRESSION: \n"
  assert split_report(text) == Sections(findings="Clear.")


def test_a_report_without_either_gives_its_last_paragraphs():
  text = "\n HISTORY: Cough.\n \n PA view.\n \n Clear lungs.\n"
  assert split_report(text) == Sections(
    impression="PA view. Clear lungs.", indication="Cough."
  )
  assert split_report("Title\n \n Clear lungs.\n").impression == "Clear lungs."
  assert split_report("One paragraph.") == split_report("") == Sections()


def test_studies_with_rules_of_their_own():
  text = "x" * 201 + "Clear lungs. ".ljust(148) + "y" * 50
  assert split_report(text, study="s50525523").impression == "Clear lungs."
  assert split_report(FULL, study="s58235663") == Sections()
  noted = "\n INDICATION: Clear lungs.\n \n FINDINGS: \n"
  assert split_report(noted, study="s57936451").impression == "Clear lungs."
