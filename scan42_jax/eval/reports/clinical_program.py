"""Scores a file of report pairs; runs in the Python that clinical.py names.

  python clinical_program.py PAIRS.json SCORES.json

Imports nothing of this project: its environment has other libraries.
"""

import json
import pathlib
import sys

_LEVELS = ("simple", "partial", "complete")
# What the packages themselves say of absent weights tells nobody what to do.
_NEEDS = {
  "radgraph_scores": "the package radgraph, and the weights of"
  " StanfordAIMI/RRG_scorers in its cache",
  "chexbert_scores": "the packages f1chexbert and protobuf, bert-base-uncased"
  " in the cache of huggingface_hub, and ~/.cache/chexbert/chexbert.pth",
}


def radgraph_scores(references, hypotheses):
  """Mean F1 of RadGraph's three rewards."""
  from radgraph import F1RadGraph

  (simple, partial, complete), *_ = F1RadGraph(reward_level="all")(
    hyps=hypotheses, refs=references
  )
  means = (simple, partial, complete)
  return {
    f"radgraph_{level}": float(mean)
    for level, mean in zip(_LEVELS, means, strict=True)
  }


def chexbert_scores(references, hypotheses):
  """F1 over CheXbert's 14 labels and over the 5 of CheXpert's competition."""
  from f1chexbert import F1CheXbert

  _, _, all_labels, five_labels = F1CheXbert(device="cpu")(
    hyps=hypotheses, refs=references
  )
  return {
    f"chexbert_{number}_{average}": float(report[f"{average} avg"]["f1-score"])
    for number, report in ((14, all_labels), (5, five_labels))
    for average in ("micro", "macro")
  }


def main(pairs, found):
  """Writes the scores of what works, and why the rest does not."""
  texts = json.loads(pathlib.Path(pairs).read_text())
  scores, missing = {}, {}
  for score in (radgraph_scores, chexbert_scores):
    try:
      scores |= score(texts["references"], texts["hypotheses"])
    # Packages that are absent, too new or without weights fail in any way.
    except (Exception, SystemExit) as error:
      lines = str(error).strip().splitlines() or [type(error).__name__]
      name = score.__name__
      missing[name] = f"needs {_NEEDS[name]} ({lines[0]})"
  pathlib.Path(found).write_text(
    json.dumps({"scores": scores, "missing": missing})
  )


if __name__ == "__main__":
  main(*sys.argv[1:])
