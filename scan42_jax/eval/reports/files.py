"""The texts of an evaluation as files: a table, and ReXrank's JSON."""

from __future__ import annotations

import csv
import json
import pathlib
from collections.abc import Mapping, Sequence

from scan42_jax.eval.reports.pairs import Pair, without_prior_studies
from scan42_jax.metrics.text import TextScores
from scan42_jax.types import Float

TEXTS = "texts.csv"
REXRANK = "rexrank.json"
_PER_PAIR = ("bleu_4", "rouge_l", "rouge_l_google", "cider")


def write_texts(
  path: pathlib.Path,
  pairs: Sequence[Pair],
  texts: Mapping[str, Sequence[str]],
  *,
  scores: TextScores,
) -> None:
  """Writes one row per film: reference, all texts, scores of the first.

  `prior` counts the sentences of the reference, and of the first text, that
  compare with an earlier study, which no single film can show.

  Args:
    path: of the CSV.
    pairs: films and references.
    texts: what the texts were made from -> texts.
    scores: of the first of them.
  """
  values: dict[str, Float] = scores.per_pair()
  first = next(iter(texts))
  columns = [
    *("image_id", "patient_id", "indication", "reference"),
    *(f"text:{name}" for name in texts),
    *(f"value:{name}" for name in _PER_PAIR),
    *("prior:reference", f"prior:{first}"),
  ]
  with path.open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(columns)
    for row, pair in enumerate(pairs):
      writer.writerow(
        [
          *(pair.image_id, pair.patient_id, pair.indication, pair.text),
          *(some[row] for some in texts.values()),
          *(f"{values[name][row]:.6g}" for name in _PER_PAIR),
          *(
            without_prior_studies(text)[1]
            for text in (pair.text, texts[first][row])
          ),
        ]
      )


def write_rexrank(
  path: pathlib.Path,
  pairs: Sequence[Pair],
  texts: Sequence[str],
  *,
  section: str,
  split: str,
) -> None:
  """Writes the file that ReXrank's scripts read, one entry per film.

  The keys are those of its example of predictions
  (github.com/rajpurkarlab/ReXrank, example_files/prediction.json); it is keyed
  by study there and by film here.
  """
  entries = {
    pair.image_id: {
      "dicom_id": [pair.image_id],
      "subject_id": pair.patient_id,
      "split": split,
      "findings": pair.text if section == "findings" else "",
      "impression": pair.text if section == "impression" else "",
      "report": pair.text if section == "report" else "",
      "context": f"<context>Indication: {pair.indication}</context>"
      if pair.indication
      else "<context></context>",
      "model_prediction": text,
    }
    for pair, text in zip(pairs, texts, strict=True)
  }
  path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
