"""Files and the page of cases: complete, escaped, self-contained."""

import base64
import csv
import io
import json
import pathlib
import re
import sys

import numpy as np
import pytest
from PIL import Image

from scan42_jax.eval.reports import attention, cases, clinical, files
from scan42_jax.eval.reports.attention import Word
from scan42_jax.eval.reports.cases import Case
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.metrics.text import TextScores

EVIL = '<img src="http://x" onerror="alert(1)">&'


def _case(**changes):
  fields = {
    "title": EVIL,
    "jpeg": b"jpeg",
    "width": 40,
    "height": 20,
    "reference": EVIL,
    "generated": EVIL,
    "blind": EVIL,
    "indication": EVIL,
    "words": [Word(EVIL, np.array([0.0, 1.0]))],
    "chosen": 0,
    "grid": (1, 2),
  }
  return Case(**fields | changes)


def test_every_text_of_a_case_is_escaped():
  page = cases.render_cases(
    EVIL, [_case(), _case(words=())], note=EVIL, details=[EVIL]
  )
  assert "<script" not in page and 'src="http' not in page
  assert page.count("onerror") == page.count("&lt;img") > 12


def test_a_chosen_word_lies_over_the_film():
  words = [
    Word("Left", np.array([0.0, 0.5])),
    Word(" is", np.zeros(2)),
    Word(" effusion", np.array([0.2, 0.1])),
  ]
  page = cases.render_cases("t", [_case(words=words, chosen=2)], note="")
  pictures = re.findall(r'<img class="(w\d)" alt="" src="([^"]+)"', page)
  assert [name for name, _ in pictures] == ["w0", "w2"]
  opacity = [_decoded(data)[..., 3].ravel() for _, data in pictures]
  # The right half of the film, and nothing on the left.
  assert opacity[0][0] == 0 and opacity[0][1] > 150
  assert opacity[1][0] > opacity[1][1] > 0
  assert re.findall(r'id="(\w+)"[^>]*checked', page) == ["c0w2"]
  assert '<label for="c0w0" class="w0">Left</label> is <label' in page


def _decoded(data):
  stream = io.BytesIO(base64.b64decode(data.partition(",")[2]))
  return np.asarray(Image.open(stream))


def test_the_sharpest_word_joins_its_tokens():
  pieces = [" The", " effu", "sion", " is", " left", "."]
  looks = np.full((6, 4), 0.25)
  looks[1] = looks[2] = [0.9, 0.1, 0.0, 0.0]
  found = attention.words(pieces, looks)
  assert [word.text for word in found] == [
    *(" The", " effusion", " is", " left", "."),
  ]
  chosen = attention.sharpest(found)
  assert found[chosen].text == " effusion"
  look = found[chosen].look
  assert look.argmax() == 0 and look[2] == 0
  assert attention.sharpest(attention.words([" an"], np.ones((1, 4)))) is None


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


def test_the_table_flags_sentences_on_prior_studies(tmp_path):
  references = ["Effusion is unchanged. Clear.", "No edema."]
  written = ["No edema.", "Effusion has improved again. Stable heart."]
  pairs = [
    Pair(film=i, image_id=f"i{i}", patient_id="", text=text)
    for i, text in enumerate(references)
  ]
  files.write_texts(
    tmp_path / "t.csv",
    pairs,
    {"films": written, "blank films": references},
    scores=TextScores(references, written),
  )
  with (tmp_path / "t.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["prior:reference"] for row in rows] == ["1", "0"]
  assert [row["prior:films"] for row in rows] == ["0", "2"]
  assert rows[1]["text:blank films"] == "No edema."


def test_clinical_metrics_say_what_they_lack(tmp_path):
  # This Python has neither package.
  with pytest.raises(
    ValueError,
    match=r"no clinical metric.*package radgraph.*chexbert.pth.*pip install",
  ):
    clinical.score(
      ["Clear."],
      ["Clear."],
      python=pathlib.Path(sys.executable),
      workdir=tmp_path,
    )
  with pytest.raises(FileNotFoundError, match="make the environment with"):
    clinical.score([], [], python=tmp_path / "none", workdir=tmp_path)
