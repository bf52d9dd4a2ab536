"""Builds the writer that the settings ask for, with its starting parameters."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from scan42_jax import paths
from scan42_jax.encoder import Encoder
from scan42_jax.eval.reports.decoding import Ending
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.placing import place_parameters
from scan42_jax.eval.reports.seeing import (
  ENCODER,
  SENTENCES,
  SeeingDecoder,
)
from scan42_jax.eval.reports.sentences import frequent_sentences
from scan42_jax.eval.reports.settings import (
  LanguageModelSettings,
  ReportSettings,
)
from scan42_jax.eval.reports.templates import TEMPLATES
from scan42_jax.eval.reports.tokenizer import (
  Tokenizer,
  read_tokenizer,
  train_tokenizer,
)
from scan42_jax.eval.reports.writer import Writer, small_ending, small_prompt
from scan42_jax.models.language_model import LanguageModelConfig
from scan42_jax.models.report_decoder import ReportDecoder, ReportDecoderConfig
from scan42_jax.models.sentence_head import SentenceHead
from scan42_jax.models.visual_language import (
  IMAGE,
  VisualLanguageModel,
  num_visual_tokens,
)
from scan42_jax.types import Array, Params
from scan42_jax.weights.language_model import (
  load_language_model,
  read_language_config,
)

TOKENIZER = "tokenizer.json"


@dataclasses.dataclass(frozen=True)
class Sight:
  """What a writer sees of a film.

  Attributes:
    grid: rows and columns of patches.
    width: of a patch token.
  """

  grid: tuple[int, int]
  width: int


def build(
  settings: ReportSettings,
  pairs: Sequence[Pair],
  *,
  mesh: Mesh,
  sight: Sight,
  workdir: pathlib.Path,
  folder: pathlib.Path | None,
  encoder: Encoder | None = None,
) -> tuple[Writer, Any]:
  """Builds what writes, and its parameters on the mesh.

  Args:
    settings: of the evaluation.
    pairs: of training.
    mesh: over which parameters are split.
    sight: see Sight.
    workdir: where the tokenizer of the embedded decoder is, or will be.
    folder: of the language model.
    encoder: that learns with the decoder, and so becomes part of the writer;
      None where it is frozen.

  Raises:
    ValueError, FileNotFoundError: of the folder; one line.
  """
  if settings.decoder == "small":
    tokenizer = _own_tokenizer(settings, pairs, workdir / TOKENIZER)
    writer, known = _small(settings, tokenizer), {}
  else:
    writer, known = _language(settings, folder, mesh=mesh, sight=sight)
  fresh = _fresh(writer, mesh, sight=sight, seed=settings.seed, known=known)
  params = paths.unflatten({**known, **fresh})
  if encoder is not None:
    texts = [pair.impression for pair in pairs]
    writer, seeing = _seeing(settings, writer, texts, encoder=encoder)
    params |= jax.device_put(seeing, place_parameters(mesh, seeing))
  return writer, params


def rebuild(
  settings: ReportSettings,
  learnt: Params,
  *,
  encoder: Encoder,
  sight: Sight,
  workdir: pathlib.Path,
  folder: pathlib.Path | None,
) -> tuple[Writer, Any]:
  """Builds what writes with parameters that were learnt before.

  Args:
    settings: of the evaluation.
    learnt: parameters of the decoder, all but those that `is_borrowed` tells
      and that did not train.
    encoder: as the decoder learnt to look through it; the parameters go on its
      mesh.
    sight: see Sight.
    workdir: where the tokenizer of the embedded decoder is.
    folder: of the language model.

  Raises:
    ValueError, FileNotFoundError: of the folders; one line.
  """
  mesh = encoder.mesh
  if settings.decoder == "small":
    tokenizer = read_tokenizer(workdir / TOKENIZER)
    writer, known = _small(settings, tokenizer), {}
  else:
    writer, known = _language(settings, folder, mesh=mesh, sight=sight)
  placed = jax.device_put(learnt, place_parameters(mesh, learnt))
  params = paths.unflatten({**known, **paths.flatten(placed)})
  if settings.training.trains_encoder:
    moves = settings.training.moves
    net = SeeingDecoder(encoder.net, writer.net, encoder.preprocessing, moves)
    writer = dataclasses.replace(writer, net=net)
    params[ENCODER] = encoder.params
  return writer, params


def is_borrowed(path: str) -> bool:
  """Whether the folder of a language model has a parameter of the writer."""
  return path.startswith("language_model/") and "/lora_" not in path


def _seeing(
  settings: ReportSettings,
  writer: Writer,
  texts: Sequence[str],
  *,
  encoder: Encoder,
) -> tuple[Writer, dict[str, Any]]:
  """Puts the encoder before the decoder; its weights are copied."""
  training, head = settings.training, None
  params = {ENCODER: jax.tree.map(np.asarray, encoder.params)}
  sentences = ()
  if training.sentence_weight:
    sentences = frequent_sentences(texts, most=training.sentences)
    if not sentences:
      raise ValueError(
        "no sentence is found in the impressions of five training reports: set"
        " config.training.sentence_weight=0, and no stage to train='sentences'"
      )
    config = encoder.config
    head = SentenceHead(len(sentences), config.num_heads, encoder.dtype)
    tokens = jnp.zeros((1, 1, config.width))
    made = head.init(jax.random.key(settings.seed), tokens)
    params[SENTENCES] = made["params"]
  net = SeeingDecoder(
    encoder.net, writer.net, encoder.preprocessing, training.moves, head
  )
  return dataclasses.replace(writer, net=net, sentences=sentences), params


def _small(settings: ReportSettings, tokenizer: Tokenizer) -> Writer:
  """The embedded decoder."""
  text, shape = settings.text, settings.small
  room = max(text.max_report_tokens, settings.decoding.max_tokens)
  config = ReportDecoderConfig(
    vocab_size=tokenizer.vocab_size,
    width=shape.width,
    depth=shape.depth,
    num_heads=shape.num_heads,
    mlp_ratio=shape.mlp_ratio,
    max_tokens=-(-(room + text.max_indication_tokens + 2) // 8) * 8,
    dropout=shape.dropout,
  )
  return Writer(
    net=ReportDecoder(config, dtype=jnp.dtype(settings.dtype)),
    tokenizer=tokenizer,
    ending=small_ending(tokenizer),
    prompt=small_prompt(
      tokenizer, max_indication_tokens=text.max_indication_tokens
    ),
    max_report_tokens=text.max_report_tokens,
  )


def _own_tokenizer(
  settings: ReportSettings, pairs: Sequence[Pair], path: pathlib.Path
) -> Tokenizer:
  """Tokens of the embedded decoder, made once, of the training reports."""
  if path.is_file():
    return read_tokenizer(path)
  texts = [text for pair in pairs for text in (pair.text, pair.indication)]
  tokenizer = train_tokenizer(texts, vocab_size=settings.small.vocab_size)
  tokenizer.save(path)
  return tokenizer


def _language(
  settings: ReportSettings,
  folder: pathlib.Path | None,
  *,
  mesh: Mesh,
  sight: Sight,
) -> tuple[Writer, dict[str, Array]]:
  """A language model behind a projector, and the weights of its folder."""
  if folder is None:
    raise ValueError(
      "config.decoder='language_model' needs --language_model=FOLDER"
    )
  how = settings.language_model
  config = dataclasses.replace(
    read_language_config(folder),
    lora_rank=how.lora_rank,
    lora_alpha=how.lora_alpha,
    remat=True,
  )
  tokenizer = read_tokenizer(folder / TOKENIZER)
  if tokenizer.vocab_size > config.vocab_size:
    raise ValueError(
      f"{folder / TOKENIZER} has {tokenizer.vocab_size} tokens, config.json"
      f" says {config.vocab_size}: they belong to different models"
    )
  net = VisualLanguageModel(
    config,
    projector_layers=how.projector_layers,
    grid=sight.grid,
    pool=how.pool,
    dtype=jnp.dtype(settings.dtype),
  )
  writer = Writer(
    net=net,
    tokenizer=tokenizer,
    ending=_template_ending(tokenizer, how.template),
    prompt=visual_prompt(
      tokenizer,
      how,
      visual_tokens=num_visual_tokens(sight.grid, how.pool),
      max_indication_tokens=settings.text.max_indication_tokens,
    ),
    max_report_tokens=settings.text.max_report_tokens,
  )
  _check_room(writer, config, settings, folder)
  shapes = jax.eval_shape(
    lambda key: _init(writer, sight, key), jax.random.key(0)
  )
  places = paths.flatten(place_parameters(mesh, shapes["language_model"]))
  all_train = any(s.train == "all" for s in settings.training.stages)
  loaded = load_language_model(
    folder,
    shapes["language_model"],
    place=places.__getitem__,
    dtype="float32" if all_train else settings.dtype,
  )
  return writer, paths.flatten({"language_model": loaded})


def _check_room(
  writer: Writer,
  config: LanguageModelConfig,
  settings: ReportSettings,
  folder: pathlib.Path,
) -> None:
  """Refuses rows that are longer than what the language model can read."""
  text, prompt = settings.text, len(writer.prompt(""))
  longest = prompt + max(text.max_report_tokens, settings.decoding.max_tokens)
  longest += text.max_indication_tokens * text.indication
  if 0 < config.max_positions < longest:
    raise ValueError(
      f"a film takes {longest} tokens, {prompt} of them before its report, and"
      f" {folder / 'config.json'} allows {config.max_positions}: set"
      " config.language_model.pool=2, or lower config.text.max_report_tokens"
      " and config.decoding.max_tokens"
    )


def _template_ending(tokenizer: Tokenizer, template: str) -> Ending:
  """How answers of a template end.

  Raises:
    ValueError: the tokenizer is not of that template.
  """
  chosen = TEMPLATES[template]
  try:
    ends = tuple(tokenizer.special(name) for name in chosen.ends)
    return Ending(ends=ends, pad=tokenizer.special(chosen.pad))
  except ValueError as error:
    raise ValueError(
      f"{error}: config.language_model.template={template!r} is of another"
      " language model"
    ) from None


def visual_prompt(
  tokenizer: Tokenizer,
  settings: LanguageModelSettings,
  *,
  visual_tokens: int,
  max_indication_tokens: int,
) -> Callable[[str], list[int]]:
  """The prompt of a language model: IMAGE stands for each visual token."""
  template = TEMPLATES[settings.template]
  before = tokenizer.encode(template.before)

  def prompt(indication: str) -> list[int]:
    request = settings.request
    if indication:
      kept = tokenizer.encode(indication)[:max_indication_tokens]
      request = f"{request} Indication: {tokenizer.decode(kept)}"
    after = tokenizer.encode(template.after.format(request=request))
    return [*before, *[IMAGE] * visual_tokens, *after]

  return prompt


def _init(writer: Writer, sight: Sight, key: Array) -> Any:
  number = sight.grid[0] * sight.grid[1]
  return writer.net.init(
    key,
    jnp.zeros((1, number, sight.width)),
    jnp.zeros((1, 2), jnp.int32),
    jnp.ones((1, 2), bool),
  )["params"]


def _fresh(
  writer: Writer,
  mesh: Mesh,
  *,
  sight: Sight,
  seed: int,
  known: Mapping[str, Array],
) -> dict[str, Array]:
  """Random parameters of those that are not known, made where they live."""

  def make(key: Array) -> dict[str, Array]:
    leaves = paths.flatten(_init(writer, sight, key))
    return {path: leaf for path, leaf in leaves.items() if path not in known}

  key = jax.random.key(seed)
  places = place_parameters(mesh, jax.eval_shape(make, key))
  return jax.jit(make, out_shardings=places)(key)
