"""Clinical metrics of report pairs, by packages in an environment of their own.

RadGraph's and CheXbert's packages need other versions of transformers and
scikit-learn than anybody wants to have, so they run in a Python of their own
over a file of pairs. Weights come from its local folders; nothing is fetched.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Sequence

PAIRS = "clinical_pairs.json"
SCORES = "clinical_scores.json"
INSTALL = (
  "python -m venv ENV && ENV/bin/pip install radgraph f1chexbert protobuf"
  ' "transformers<5" "scikit-learn<1.8" "huggingface_hub<1"'
)
_PROGRAM = pathlib.Path(__file__).with_name("clinical_program.py")


def score(
  references: Sequence[str],
  hypotheses: Sequence[str],
  *,
  python: pathlib.Path,
  workdir: pathlib.Path,
) -> dict[str, float]:
  """Scores pairs with what the environment has.

  RadGraph: mean F1 of the reward 'partial' (entities with their label and
  whether they have a relation), and 'simple', 'complete'. CheXbert labels both
  texts itself; blank and negative are 0, positive and uncertain 1; F1 over 14
  and over 5 labels, micro and macro.

  Args:
    references: what the radiologist wrote.
    hypotheses: what was generated, in the same order.
    python: of the environment.
    workdir: of the files that are passed.

  Raises:
    FileNotFoundError: there is no such Python.
    ValueError: the environment has no metric that works; says why.
  """
  if not python.is_file():
    raise FileNotFoundError(
      f"--clinical_python={python}: no such file; make the environment with"
      f" {INSTALL}"
    )
  pairs, found = workdir / PAIRS, workdir / SCORES
  pairs.write_text(
    json.dumps({"references": references, "hypotheses": hypotheses})
  )
  found.unlink(missing_ok=True)
  # Offline, or the libraries try for minutes to reach their hub.
  environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
  done = subprocess.run(
    [str(python), str(_PROGRAM), str(pairs), str(found)],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  if not found.is_file():
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise ValueError(f"the clinical metrics ended without scores: {last}")
  outcome = json.loads(found.read_text())
  if not outcome["scores"]:
    raise ValueError(
      f"{python} has no clinical metric that works:"
      f" {'; '.join(outcome['missing'].values())}; environment: {INSTALL}"
    )
  return outcome["scores"]
