"""Films with a text to learn from or to be scored on; the rest is counted."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scan42_jax.datasets.views import FRONTAL
from scan42_jax.eval.reports.settings import TextSettings

_PRIOR = re.compile(
  r"\b(?:prior|previous(?:ly)?|unchanged|interval(?:ly)?|again|stable|"
  r"compar(?:ed|ison)|improv(?:ed|ing|ement)|worsen(?:ed|ing)|"
  r"(?:in|de)creas(?:ed|ing) (?:from|since)|persist(?:s|ent)|redemonstrated|"
  r"resolved|(?:no|any) longer|since)\b",
  re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!?])\s+")


@dataclasses.dataclass(frozen=True)
class Pair:
  """A film and the text about it.

  Attributes:
    film: its place in the source.
    image_id: of the film.
    patient_id: '' if unknown.
    text: what is to be written.
    indication: why the film was taken; '' if unknown or not shown.
    impression: of the report, one line; '' if it has none.
    labels: codes of the dataset's labels.
    study: what its films share; '' if unknown.
    view: position, as the dataset spells it.
  """

  film: int
  image_id: str
  patient_id: str
  text: str
  indication: str = ""
  impression: str = ""
  labels: tuple[int, ...] = ()
  study: str = ""
  view: str = ""


@dataclasses.dataclass(frozen=True)
class Pairs:
  """The pairs of a split and what was left out of it.

  Attributes:
    pairs: in stored order.
    counts: films by what became of them, and sentences on prior studies.
  """

  pairs: Sequence[Pair]
  counts: Mapping[str, int]

  @property
  def num_patients(self) -> int:
    """Patients; films of unknown patients are not counted."""
    return len({p.patient_id for p in self.pairs} - {""})

  @property
  def num_studies(self) -> int:
    """Studies; a film of an unknown patient is one of its own."""
    return len({_study_of(pair) for pair in self.pairs})


def read_pairs(
  examples: Iterable[Mapping[str, Any]], settings: TextSettings
) -> Pairs:
  """Reads the pairs of a split.

  Args:
    examples: as FilmSource has them.
    settings: which texts.

  Raises:
    ValueError: no film has a text.
  """
  pairs, counts = [], collections.Counter()
  for film, example in enumerate(examples):
    if settings.max_films and len(pairs) == settings.max_films:
      break
    counts["films"] += 1
    kept, prior = without_prior_studies(example[settings.section])
    counts["sentences on prior studies"] += prior
    text = " ".join(example[settings.section].split())
    if settings.prior_studies == "remove":
      text = kept
    if not text:
      counts[f"films without {settings.section}"] += 1
      continue
    indication = example["indication"] if settings.indication else ""
    if settings.indication and not indication:
      counts["films without indication"] += 1
    pairs.append(_pair(film, example, text, indication))
  if not pairs:
    raise ValueError(
      f"none of {counts['films']} films has {settings.section}: prepare a"
      " dataset with reports, or set config.text.section"
    )
  return Pairs(pairs, dict(counts))


def split_sentences(text: str) -> list[str]:
  """Cuts a text after full stops, question and exclamation marks."""
  return _SENTENCES.split(" ".join(text.split()))


def without_prior_studies(text: str) -> tuple[str, int]:
  """Leaves out sentences that speak of an earlier study.

  Returns:
    What remains, and how many sentences do.
  """
  sentences = split_sentences(text)
  kept = [s for s in sentences if not _PRIOR.search(s)]
  return " ".join(kept), len(sentences) - len(kept)


def _pair(film, example, text, indication) -> Pair:
  return Pair(
    film=film,
    image_id=example["image_id"],
    patient_id=example["patient_id"],
    text=text,
    indication=" ".join(indication.split()),
    impression=" ".join(example["impression"].split()),
    labels=tuple(int(code) for code in example["labels"]),
    study=_study(example),
    view=example["view"],
  )


def _study(example: Mapping[str, Any]) -> str:
  """Names the study of a film: shards tell patient and report, no study.

  Films of a patient that come with the same report, letter for letter, are of
  one study.
  """
  report = example["report"]
  if not example["patient_id"] or not report:
    return ""
  return hashlib.sha256(
    f"{example['patient_id']} {report}".encode()
  ).hexdigest()


def _study_of(pair: Pair) -> str:
  return pair.study or f"film {pair.image_id}"


def one_film_a_study(pairs: Pairs) -> Pairs:
  """Keeps one film of every study: the first of the best view.

  PA goes before AP, AP before views that are not known to be frontal.
  """
  best: dict[str, Pair] = {}
  for pair in pairs.pairs:
    known = best.setdefault(_study_of(pair), pair)
    if _rank(pair) < _rank(known):
      best[_study_of(pair)] = pair
  kept = sorted(best.values(), key=lambda pair: pair.film)
  left = len(pairs.pairs) - len(kept)
  return Pairs(kept, {**pairs.counts, "further films of a study": left})


def _rank(pair: Pair) -> int:
  order = ("PA", "AP", FRONTAL)
  return order.index(pair.view) if pair.view in order else len(order)


def check_apart(splits: Mapping[str, Pairs]) -> None:
  """Refuses a patient or a film in two splits.

  Raises:
    ValueError: names it.
  """
  for what in ("patient_id", "image_id"):
    seen: dict[str, str] = {}
    for split, pairs in splits.items():
      for pair in pairs.pairs:
        name = getattr(pair, what)
        if name and seen.setdefault(name, split) != split:
          raise ValueError(
            f"{what} {name} is in two splits, {seen[name]!r} and {split!r}: the"
            " test would know what was learnt; split by patient"
          )
