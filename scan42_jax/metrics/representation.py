"""Whether features still tell films apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scan42_jax.types import Bool, Float

_QUERIES_AT_ONCE = 1024  # Similarities to the whole bank are held for these.


def effective_rank(features: Float[np.ndarray, "N D"]) -> float:
  """exp(entropy) of the centred features' normalised singular values.

  Between 1, one direction is left, and min(N, D); Roy and Vetterli 2007.
  """
  centred = features - features.mean(axis=0)
  singular = np.linalg.svd(centred.astype(np.float64), compute_uv=False)
  share = singular / max(singular.sum(), 1e-30)
  share = share[share > 0]
  return float(np.exp(-np.sum(share * np.log(share))))


def linear_cka(
  a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "N E"]
) -> float:
  """Similarity of two encoders' features of the same films, 0 to 1.

  |A'B|^2 / (|A'A| |B'B|) of centred features, Frobenius norms: 1 where they
  differ by rotation and scale only. Linear centred kernel alignment, Kornblith
  et al. 2019, equation 3. Random features of width D have about D / (N + D).
  """
  a, b = (x.astype(np.float64) - x.mean(axis=0) for x in (a, b))
  cross, own_a, own_b = (
    np.linalg.norm(x.T @ y) for x, y in [(a, b), (a, a), (b, b)]
  )
  return float(cross**2 / max(own_a * own_b, 1e-30))


def knn_scores(
  features: Float[np.ndarray, "N D"],
  labels: Float[np.ndarray, "N C"],
  *,
  valid: Bool[np.ndarray, "N C"],
  patients: Sequence[str],
  neighbours: int = 20,
  temperature: float = 0.07,
) -> Float[np.ndarray, "N C"]:
  """Scores each film by its nearest films of other patients.

  Args:
    features: of each film.
    labels: 0 or 1.
    valid: labels that are known; the others do not vote.
    patients: a film of the same patient is no neighbour; '' is nobody.
    neighbours: k.
    temperature: of the votes.
  """
  names = np.asarray(patients)
  same = (names[:, None] == names) & (names != "")
  return neighbour_votes(
    features,
    features,
    labels=labels,
    valid=valid,
    neighbours=neighbours,
    temperature=temperature,
    excluded=same | np.eye(len(names), dtype=bool),
  )


def neighbour_votes(
  queries: Float[np.ndarray, "Q D"],
  bank: Float[np.ndarray, "N D"],
  *,
  labels: Float[np.ndarray, "N C"],
  valid: Bool[np.ndarray, "N C"],
  neighbours: int,
  temperature: float = 0.07,
  excluded: Bool[np.ndarray, "Q N"] | None = None,
) -> Float[np.ndarray, "Q C"]:
  """Lets the nearest films of a bank vote with exp(cosine / temperature).

  As in DINO's k-NN evaluation, Caron et al. 2021.

  Args:
    queries: features of the films to score.
    bank: features of films whose labels are known.
    labels: 0 or 1, of the bank.
    valid: labels that are known; the others do not vote.
    neighbours: k.
    temperature: of the votes.
    excluded: films of the bank that are no neighbours of a query.
  """
  unit_bank = _unit(bank)
  k = min(neighbours, len(bank) - (excluded is not None))
  scores = []
  for first in range(0, len(queries), _QUERIES_AT_ONCE):
    rows = slice(first, first + _QUERIES_AT_ONCE)
    similarity = _unit(queries[rows]) @ unit_bank.T
    if excluded is not None:
      similarity[excluded[rows]] = -np.inf
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    votes = np.exp(np.take_along_axis(similarity, nearest, 1) / temperature)
    counted = votes[..., None] * valid[nearest]
    total = np.maximum(counted.sum(axis=1), 1e-30)
    scores.append((counted * labels[nearest]).sum(axis=1) / total)
  return np.concatenate(scores)


def _unit(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
  lengths = np.linalg.norm(features, axis=1, keepdims=True)
  return features / np.maximum(lengths, 1e-12)
