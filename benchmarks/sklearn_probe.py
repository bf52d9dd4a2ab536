"""Repeats a finished logistic evaluation with scikit-learn on the same tokens.

  python -m benchmarks.sklearn_probe --run=WORKDIR --data_dir=DIR

WORKDIR is that of `--config.protocol=logistic`. Prints the AUROC on test films
of both, of each label and of their mean; strengths are chosen on validation
films in the same way. Needs scikit-learn, of the extra [dev].
"""

import argparse
import json
import pathlib
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

from scan42_jax.eval.choosing import best_of
from scan42_jax.eval.frozen import POOLED, judge
from scan42_jax.eval.logistic import Scaling
from scan42_jax.eval.results.writing import read_metrics
from scan42_jax.eval.scored import PREDICTIONS, read_predictions
from scan42_jax.eval.settings import build_eval
from scan42_jax.eval.splits import open_splits
from scan42_jax.metrics.ranking import auroc


def main() -> None:
  """Fits and compares."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--run", type=pathlib.Path, required=True)
  parser.add_argument("--data_dir", type=pathlib.Path, required=True)
  arguments = parser.parse_args()
  stored = read_metrics(arguments.run)["provenance"]["config"]
  settings = build_eval(stored)
  if settings.protocol != "logistic" or settings.data.exclusive:
    parser.error("--run is no logistic regression of findings")
  splits = open_splits(settings.data, arguments.data_dir)
  tokens = [_tokens(arguments.run, s.source.split) for s in splits]
  train, validation, test = (s.known for s in splits)
  scaling = Scaling.of(tokens[0])
  tokens = [scaling.apply(x).astype(np.float64) for x in tokens]
  scores, _ = best_of(
    (_fit(tokens, train, l2) for l2 in settings.logistic.l2),
    lambda s: judge(validation, s[0], settings),
  )
  ours = read_predictions(arguments.run / PREDICTIONS)
  theirs = auroc(test.labels, scores[1], test.valid)
  mine = auroc(test.labels, ours.scores, test.valid)
  for name, a, b in zip(test.label_names, mine, theirs, strict=True):
    print(f"{name}: ours {a:.4f}, scikit-learn {b:.4f}")
  a, b = np.nanmean(mine), np.nanmean(theirs)
  print(f"mean: ours {a:.4f}, scikit-learn {b:.4f}, apart by {abs(a - b):.5f}")


def _tokens(run: pathlib.Path, split: str) -> np.ndarray:
  """Class token and mean patch of every film of a split."""
  (path,) = (run / "tokens").glob(f"{split}_*.npy")
  table = np.load(path)
  facts = json.loads((run / "model.json").read_text())
  width = facts["encoder"]["width"]
  return table[:, POOLED.columns(table.shape[1], width=width)]


def _fit(tokens, train, l2: float) -> list[np.ndarray]:
  """Returns logits of validation and test films."""
  columns = []
  for c in range(train.labels.shape[1]):
    keep = train.valid[:, c]
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # About steps, where l2 is tiny.
      model = LogisticRegression(
        C=1 / (l2 * keep.sum()), tol=1e-9, max_iter=20_000
      ).fit(tokens[0][keep], train.labels[keep, c])
    columns.append([model.decision_function(x) for x in tokens[1:]])
  return [np.stack(parts, axis=1) for parts in zip(*columns, strict=True)]


if __name__ == "__main__":
  main()
