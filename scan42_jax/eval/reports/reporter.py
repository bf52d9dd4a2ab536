"""A finished writer, ready for anybody's films, and as files.

model.json and model.npz hold settings, encoder and what the decoder learnt. The
weights of a language model that did not train stay in its own folder.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scan42_jax import paths
from scan42_jax.encoder import Encoder
from scan42_jax.eval.model_files import read_model, stored_task, write_model
from scan42_jax.eval.reports.building import Sight, is_borrowed, rebuild
from scan42_jax.eval.reports.generation import Generator
from scan42_jax.eval.reports.learning import Leaves, part_leaves
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.patches import Viewer
from scan42_jax.eval.reports.seeing import ENCODER, SENTENCES
from scan42_jax.eval.reports.settings import ReportSettings
from scan42_jax.mappings import build
from scan42_jax.settings import to_json
from scan42_jax.types import Params, UInt8
from scan42_jax.weights.digest import weights_sha256

TASK = "report_generation"
_LANGUAGE_MODEL = "language_model"
# Nothing is known of a film, and each has the same random numbers.
_UNKNOWN = Pair(film=0, image_id="", patient_id="", text="")


@dataclasses.dataclass(frozen=True, eq=False)
class Reporter:
  """What writes about films.

  Attributes:
    viewer: shows films to the decoder.
    generator: writes.
    section: of a report that is written, such as 'findings'.
  """

  viewer: Viewer
  generator: Generator
  section: str

  @property
  def batch_size(self) -> int:
    """Films that are written about together."""
    return self.generator.batch_size

  def write(self, films: Sequence[UInt8[np.ndarray, "_ _"]]) -> list[str]:
    """Returns the text of each film; grey levels, of any sizes."""
    size, texts = self.batch_size, []
    for first in range(0, len(films), size):
      some = films[first : first + size]
      # Filled up, so that one program serves all.
      seen = self.viewer([*some, *[some[-1]] * (size - len(some))])
      texts += self.generator.write(seen, [_UNKNOWN] * len(some))
    return texts


def save_reporter(
  folder: pathlib.Path,
  encoder: Encoder,
  params: Params,
  *,
  settings: ReportSettings,
  sight: Sight,
  language_model: pathlib.Path | None,
) -> None:
  """Writes what `load_reporter` needs into the work folder.

  Args:
    folder: the work folder; has the tokenizer of an embedded decoder already.
    encoder: that the decoder looks through, as it was at the start.
    params: of the trained writer.
    settings: of the evaluation.
    sight: see Sight.
    language_model: its folder; the embedded decoder needs none.
  """
  decoder = dict(params)
  learnt = decoder.pop(ENCODER, encoder.params)
  decoder.pop(SENTENCES, None)  # Takes no part in writing.
  stored, borrowed = _part(decoder, settings)
  facts = {
    "task": TASK,
    "settings": to_json(settings),
    "grid": list(sight.grid),
    _LANGUAGE_MODEL: None
    if settings.decoder == "small"
    else str(language_model.resolve()),
    "borrowed_sha256": weights_sha256(borrowed),
  }
  write_model(
    folder,
    dataclasses.replace(encoder, params=learnt),
    {"decoder": paths.unflatten(stored)},
    facts,
  )


def _part(params: Params, settings: ReportSettings) -> tuple[Leaves, Leaves]:
  """Parts a decoder into what has to be stored, and what a folder has."""
  moving, frozen = part_leaves(params, settings.training.stages)
  borrowed = {p: leaf for p, leaf in frozen.items() if is_borrowed(p)}
  fresh = {p: leaf for p, leaf in frozen.items() if p not in borrowed}
  return {**moving, **fresh}, borrowed


def is_reporter(folder: pathlib.Path) -> bool:
  """Whether a work folder holds a finished writer."""
  return stored_task(folder) == TASK


def load_reporter(
  folder: pathlib.Path, *, batch_size: int | None = None
) -> Reporter:
  """Opens the work folder of a finished report generation.

  Every local device holds the whole model, and films are split over them.

  Args:
    folder: the work folder.
    batch_size: films to write about together, filled up to a multiple of the
      devices; that of the training by default.

  Raises:
    FileNotFoundError: the folder holds no model, or its language model is
      gone.
    ValueError: the model is of another task, or a file not what was written.
  """
  encoder, parts, facts = read_model(folder, task=TASK)
  settings = build(ReportSettings, facts["settings"], "config")
  language_model = _language_model(folder, facts)
  writer, params = rebuild(
    settings,
    parts["decoder"],
    encoder=encoder,
    sight=Sight(tuple(facts["grid"]), encoder.config.width),
    workdir=folder,
    folder=language_model,
  )
  if weights_sha256(_part(params, settings)[1]) != facts["borrowed_sha256"]:
    raise ValueError(
      f"{language_model} has other weights than the language model that"
      f" {folder} was trained with"
    )
  devices = encoder.mesh.size
  wanted = batch_size or settings.training.batch_size
  return Reporter(
    viewer=Viewer(encoder, prepared=settings.training.trains_encoder),
    generator=Generator(
      writer,
      params,
      settings=settings.decoding,
      mesh=encoder.mesh,
      batch_size=-(-wanted // devices) * devices,
      prompt_length=len(writer.prompt(_UNKNOWN.indication)),
      seed=settings.seed,
    ),
    section=settings.text.section,
  )


def _language_model(
  folder: pathlib.Path, facts: Mapping[str, Any]
) -> pathlib.Path | None:
  """Finds the folder of the language model, if one is needed."""
  if facts[_LANGUAGE_MODEL] is None:
    return None
  beside = folder / _LANGUAGE_MODEL
  found = beside if beside.is_dir() else pathlib.Path(facts[_LANGUAGE_MODEL])
  if not found.is_dir():
    raise FileNotFoundError(
      f"{found}: the language model is gone; put it, or a link to it, at"
      f" {beside}"
    )
  return found
