"""All native text metrics of a set of reports, with patient intervals.

Clinical metrics, which need models of their own, are in eval/reports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from scan42_jax.metrics import bleu, bootstrap, rouge, words
from scan42_jax.metrics.cider import Cider
from scan42_jax.types import Float, Int

METRICS = (
  *(f"bleu_{n}" for n in range(1, bleu.ORDERS + 1)),
  "bleu_4_per_report",
  "sacrebleu",
  "sacrebleu_lower",
  "rouge_l",
  "rouge_l_google",
  "cider",
)
"""Names of the columns of `TextScores.corpus`.

bleu_1 to bleu_4: of the corpus, as pycocoevalcap, 0..1, on cleaned tokens.
bleu_4_per_report: its mean over reports.
sacrebleu, sacrebleu_lower: of the corpus, 0..100, 13a tokens of the whole text,
exponential smoothing, cased and lower case.
rouge_l: beta 1.2 on cleaned tokens. rouge_l_google: beta 1 on rouge-score's
words, no stemmer. cider: CIDEr-D on cleaned tokens, frequencies of the
references.
"""


@dataclasses.dataclass(frozen=True)
class _Bleu:
  cleaned: bleu.Counts
  cased: bleu.Counts
  lower: bleu.Counts


class TextScores:
  """Pairs of reports, counted once and scored on any resample.

  Args:
    references: what the radiologist wrote.
    hypotheses: what was generated, in the same order.
    cleaning: name of `words.CLEANINGS`.
  """

  def __init__(
    self,
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    cleaning: str = "clean",
  ):
    cut = words.CLEANINGS[cleaning]
    cleaned = [list(map(cut, texts)) for texts in (references, hypotheses)]
    self._bleu = _Bleu(
      cleaned=bleu.count(*cleaned),
      cased=_mteval_counts(references, hypotheses, lower=False),
      lower=_mteval_counts(references, hypotheses, lower=True),
    )
    self._cider = Cider(*cleaned)
    self._rouge = np.array(
      [
        rouge.rouge_l(r, h, beta=rouge.CAPTION_BETA)
        for r, h in zip(*cleaned, strict=True)
      ]
    )
    self._rouge_google = np.array(
      [
        rouge.rouge_l(words.rouge_words(r), words.rouge_words(h), beta=1.0)
        for r, h in zip(references, hypotheses, strict=True)
      ]
    )

  def per_pair(self) -> dict[str, Float[np.ndarray, "N"]]:
    """Scores of single reports, under the names of the corpus scores."""
    of_pairs = bleu.caption_bleu(self._bleu.cleaned)
    return {
      **{f"bleu_{n + 1}": of_pairs[:, n] for n in range(bleu.ORDERS)},
      "rouge_l": self._rouge,
      "rouge_l_google": self._rouge_google,
      "cider": self._cider.per_pair(),
    }

  def corpus(
    self, rows: Int[np.ndarray, "M"] | None = None
  ) -> Float[np.ndarray, "K"]:
    """The values of METRICS over some rows, all by default.

    Everything that depends on the corpus is computed anew.
    """
    rows = np.arange(len(self._rouge)) if rows is None else rows
    counted = self._bleu
    of_pairs = bleu.caption_bleu(counted.cleaned)[rows]
    return np.array(
      [
        *bleu.caption_bleu(counted.cleaned.total(rows))[0],
        of_pairs[:, -1].mean(),
        bleu.mteval_bleu(counted.cased.total(rows))[0],
        bleu.mteval_bleu(counted.lower.total(rows))[0],
        self._rouge[rows].mean(),
        self._rouge_google[rows].mean(),
        self._cider.per_pair(rows).mean(),
      ]
    )


def score_reports(
  references: Sequence[str],
  hypotheses: Sequence[str],
  patients: Sequence[str],
  *,
  cleaning: str = "clean",
  draws: int = 500,
  seed: int = 0,
) -> dict[str, bootstrap.Estimate]:
  """Scores a corpus, with intervals by patient.

  Args:
    references: what the radiologist wrote.
    hypotheses: what was generated, in the same order.
    patients: patient of each pair; '' stands for one of its own.
    cleaning: name of `words.CLEANINGS`.
    draws: resamples; 0 for none.
    seed: of the resamples.

  Returns:
    An estimate for each name of METRICS.

  Raises:
    ValueError: there are no pairs.
  """
  if not references:
    raise ValueError("no pair of reports to score")
  scores = TextScores(references, hypotheses, cleaning=cleaning)
  values = scores.corpus()
  if not draws:
    return dict(zip(METRICS, map(bootstrap.Estimate, values), strict=True))
  samples = bootstrap.patient_bootstrap(
    scores.corpus, patients, draws=draws, seed=seed
  )
  return {
    name: bootstrap.estimate(value, draw)
    for name, value, draw in zip(METRICS, values, samples.T, strict=True)
  }


def _mteval_counts(references, hypotheses, *, lower):
  def cut(texts):
    return [words.mteval(t.lower() if lower else t) for t in texts]

  return bleu.count(cut(references), cut(hypotheses))
