"""Files and the page of cases: complete, escaped, self-contained."""

import json
import pathlib
import sys

import numpy as np
import pytest

from scan42_jax.eval.reports import cases, clinical, files
from scan42_jax.eval.reports.cases import Case
from scan42_jax.eval.reports.pairs import Pair

EVIL = '<img src="http://x" onerror="alert(1)">&'


def test_every_text_of_a_case_is_escaped():
  case = Case(
    title=EVIL,
    jpeg=b"jpeg",
    width=40,
    height=20,
    reference=EVIL,
    generated=EVIL,
    blind=EVIL,
    indication=EVIL,
    word=EVIL,
    attention=np.array([[0.0, 1.0]]),
  )
  page = cases.render_cases(EVIL, [case], note=EVIL)
  assert "<img" not in page and "<script" not in page
  assert page.count("&lt;img") == 10
  # The right half of the film, and nothing on the left.
  assert page.count("<rect") == 1
  assert '<rect x="20.0" y="0.0" width="20.0" height="20.0"' in page


def test_the_sharpest_word_joins_its_tokens():
  pieces = [" The", " effu", "sion", " is", " left", "."]
  looks = np.full((6, 4), 0.25)
  looks[1] = looks[2] = [0.9, 0.1, 0.0, 0.0]
  word, attention = cases.sharpest_word(pieces, looks)
  assert word == "effusion"
  assert attention.argmax() == 0 and attention[2] == 0
  assert cases.sharpest_word([" an"], np.ones((1, 4)) / 4) is None


def test_rexrank_has_the_keys_of_its_example(tmp_path):
  pair = Pair(
    film=0, image_id="i", patient_id="p", text="Clear.", indication="Cough."
  )
  files.write_rexrank(
    tmp_path / "r.json", [pair], ["Fine."], section="findings", split="test"
  )
  assert json.loads((tmp_path / "r.json").read_text()) == {
    "i": {
      "dicom_id": ["i"],
      "subject_id": "p",
      "split": "test",
      "findings": "Clear.",
      "impression": "",
      "report": "",
      "context": "<context>Indication: Cough.</context>",
      "model_prediction": "Fine.",
    }
  }


def test_clinical_metrics_say_what_they_lack(tmp_path):
  # This Python has neither package.
  with pytest.raises(
    ValueError, match=r"no clinical metric that works.*radgraph.*pip install"
  ):
    clinical.score(
      ["Clear."],
      ["Clear."],
      python=pathlib.Path(sys.executable),
      workdir=tmp_path,
    )
  with pytest.raises(FileNotFoundError, match="make the environment with"):
    clinical.score([], [], python=tmp_path / "none", workdir=tmp_path)
