"""Which films have a text: empty ones are counted, prior studies found."""

import pytest

from scan42_jax.eval.reports import pairs
from scan42_jax.eval.reports.settings import TextSettings


def _example(number, **fields):
  return {
    "image_id": f"i{number}",
    "patient_id": f"p{number}",
    "findings": "Clear lungs.",
    "impression": "",
    "report": "",
    "indication": "",
    "labels": [0, 1],
    "view": "PA",
    **fields,
  }


def test_films_without_a_text_are_counted_and_left_out():
  found = pairs.read_pairs(
    [
      _example(0, findings="The heart\n is large. "),
      _example(1, findings=" \n"),
      _example(2, indication="cough"),
    ],
    TextSettings(indication=True),
  )
  assert [p.film for p in found.pairs] == [0, 2]
  assert [p.text for p in found.pairs] == [
    "The heart is large.",
    "Clear lungs.",
  ]
  assert [p.indication for p in found.pairs] == ["", "cough"]
  assert found.pairs[0].labels == (0, 1)
  assert found.counts["films"] == 3
  assert found.counts["films without findings"] == 1
  assert found.counts["films without indication"] == 1


def test_an_indication_is_shown_only_on_demand():
  found = pairs.read_pairs([_example(0, indication="cough")], TextSettings())
  assert found.pairs[0].indication == ""


def test_no_text_at_all_is_refused():
  with pytest.raises(ValueError, match="none of 1 films has impression"):
    pairs.read_pairs([_example(0)], TextSettings(section="impression"))


@pytest.mark.parametrize(
  "sentence, prior",
  [
    ("Effusion is unchanged.", True),
    ("Compared to the prior study, edema has improved.", True),
    ("There has been interval removal of the tube.", True),
    ("Again seen is a nodule.", True),
    ("The heart is enlarged.", False),
    ("Interstitial markings are increased.", False),
    ("A stabilizing rod is seen.", False),
  ],
)
def test_sentences_on_prior_studies_are_found(sentence, prior):
  kept, number = pairs.without_prior_studies(f"No edema. {sentence}")
  assert number == prior
  assert kept == ("No edema." if prior else f"No edema. {sentence}")


def test_prior_studies_are_left_out_on_demand_and_counted_always():
  text = "No edema. Effusion is unchanged."
  for choice, expected in (("keep", text), ("remove", "No edema.")):
    found = pairs.read_pairs(
      [_example(0, findings=text)], TextSettings(prior_studies=choice)
    )
    assert found.pairs[0].text == expected
    assert found.counts["sentences on prior studies"] == 1


def test_a_patient_in_two_splits_is_refused():
  one, other = (
    pairs.read_pairs([_example(n, patient_id="p")], TextSettings())
    for n in (0, 1)
  )
  with pytest.raises(ValueError, match="patient_id p is in two splits"):
    pairs.check_apart({"train": one, "test": other})


def test_films_of_a_patient_with_one_report_are_a_study():
  def film(number, **fields):
    return _example(number, patient_id="p", report="FINDINGS: x.", **fields)

  examples = [
    film(0, view="LATERAL"),
    film(1, view="AP"),
    film(2, view="PA"),
    film(3, view="PA"),
    film(4) | {"report": "FINDINGS: y."},
    film(5) | {"patient_id": "q"},
    # Nothing tells which study these are of.
    _example(6, patient_id="", report="FINDINGS: x."),
    _example(7, patient_id="", report="FINDINGS: x."),
    _example(8, patient_id="p"),
  ]
  found = pairs.read_pairs(examples, TextSettings())
  assert found.num_studies == 6
  kept = pairs.one_film_a_study(found)
  assert [pair.film for pair in kept.pairs] == [2, 4, 5, 6, 7, 8]
  assert kept.counts["further films of a study"] == 3
  assert kept.counts["films"] == 9
