"""A language model from a folder, trained in two stages to follow the film."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from language_folders import write_language_model, write_tokenizer

from scan42_jax import paths
from scan42_jax.eval.reports import building, training
from scan42_jax.eval.reports.decoding import DecodingSettings
from scan42_jax.eval.reports.generation import Generator
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.settings import (
  LanguageModelSettings,
  ReportSettings,
  StageSettings,
  TextSettings,
  TrainingSettings,
)
from scan42_jax.eval.reports.templates import TEMPLATES
from scan42_jax.eval.reports.writer import longest_row
from scan42_jax.models.visual_language import IMAGE
from scan42_jax.sharding import make_mesh

TEXTS = ("the heart is large.", "a left effusion.", "clear.", "a tube.")
PAIRS = [
  Pair(film=i, image_id=f"i{i}", patient_id=f"p{i}", text=text)
  for i, text in enumerate(TEXTS)
]
PATCHES = np.random.default_rng(0).normal(size=(4, 4, 6)).astype(np.float32)
SIGHT = building.Sight((2, 2), 6)
SETTINGS = ReportSettings(
  decoder="language_model",
  text=TextSettings(max_report_tokens=16),
  language_model=LanguageModelSettings(template="qwen2", request="write."),
  training=TrainingSettings(
    first=StageSettings("projector", steps=20, learning_rate=1e-2),
    second=StageSettings("all", steps=100, learning_rate=1e-2),
    batch_size=4,
    evaluate_every=50,
  ),
  decoding=DecodingSettings(max_tokens=16),
)


def _folder(folder, template="qwen2", *, vocab_size=320):
  """A random Qwen2 with a tokenizer that has the template's tokens."""
  write_language_model(folder, "qwen2", vocab_size=vocab_size)
  write_tokenizer(folder, TEXTS, template=template)
  return folder


def _build(folder, settings=SETTINGS, devices=1):
  mesh = make_mesh((1, devices, 1), jax.devices()[:devices])
  writer, params = building.build(
    settings, PAIRS, mesh=mesh, sight=SIGHT, workdir=folder, folder=folder
  )
  return mesh, writer, params


def _train(folder, settings):
  """Returns mesh, writer, parameters before and after, and facts."""
  mesh, writer, start = _build(_folder(folder), settings)
  length, _ = longest_row(writer, PAIRS)
  material = training.Material(PAIRS, lambda films: PATCHES[films], length)
  course = training.Course(
    writer=writer,
    train=material,
    validation=material,
    settings=settings.training,
    seed=0,
    mesh=mesh,
    workdir=folder,
    config={},
    say=lambda line: None,
  )
  params, facts = training.train(course, start)
  return mesh, writer, start, params, facts


def test_two_stages_teach_a_language_model_to_follow_the_film(tmp_path):
  mesh, writer, _, params, facts = _train(tmp_path, SETTINGS)
  first, second = (facts[f"stage_{n}"]["validation_loss"] for n in (1, 2))
  assert second < first
  generator = Generator(
    writer,
    params,
    settings=SETTINGS.decoding,
    mesh=mesh,
    batch_size=4,
    prompt_length=len(writer.prompt("")),
    seed=0,
  )
  assert generator.write(PATCHES, PAIRS) == list(TEXTS)
  order = [3, 2, 0, 1]
  assert generator.write(PATCHES[order], PAIRS) == [TEXTS[i] for i in order]


def test_low_rank_training_moves_projector_and_updates_alone(tmp_path):
  settings = dataclasses.replace(
    SETTINGS,
    language_model=dataclasses.replace(SETTINGS.language_model, lora_rank=2),
    training=dataclasses.replace(
      SETTINGS.training,
      first=StageSettings("projector_and_lora", steps=4, learning_rate=1e-2),
      second=StageSettings(),
      evaluate_every=4,
    ),
  )
  _, _, start, params, _ = _train(tmp_path, settings)
  before, after = map(paths.flatten, (start, params))
  for path in before:
    moved = not np.array_equal(before[path], after[path])
    assert moved == (path.startswith("projector/") or "/lora_" in path), path


def test_the_prompt_has_the_film_between_the_words_of_the_template(tmp_path):
  _, writer, _ = _build(_folder(tmp_path))
  prompt = writer.prompt("cough")
  first, last = prompt.index(IMAGE), len(prompt) - prompt[::-1].index(IMAGE)
  assert prompt[first:last] == [IMAGE] * 4
  decode = writer.tokenizer._inner.decode
  text = decode(prompt[:first], skip_special_tokens=False)
  assert text == TEMPLATES["qwen2"].before
  text = decode(prompt[last:], skip_special_tokens=False)
  assert text == TEMPLATES["qwen2"].after.format(
    request="write. Indication: cough"
  )


def test_devices_share_the_parameters(tmp_path):
  folder = _folder(tmp_path)
  _, _, whole = _build(folder)
  _, _, parted = _build(folder, devices=4)
  jax.tree.map(np.testing.assert_array_equal, whole, parted)
  leaf = paths.flatten(parted)["language_model/block_00/mlp/gate/kernel"]
  assert leaf.addressable_shards[0].data.shape == (4, 24)


def test_what_does_not_fit_is_named(tmp_path):
  folder = _folder(tmp_path / "a")
  with pytest.raises(ValueError, match=r"needs --language_model=FOLDER"):
    building.build(
      SETTINGS,
      PAIRS,
      mesh=None,
      sight=SIGHT,
      workdir=tmp_path,
      folder=None,
    )
  other = dataclasses.replace(
    SETTINGS,
    language_model=dataclasses.replace(
      SETTINGS.language_model, template="vicuna"
    ),
  )
  with pytest.raises(ValueError, match=r"no token '</s>'.*another language"):
    _build(folder, other)
  values = json.loads((folder / "config.json").read_text())
  short = values | {"max_position_embeddings": 20}
  (folder / "config.json").write_text(json.dumps(short))
  with pytest.raises(ValueError, match=r"before its report, and .* allows 20"):
    _build(folder)
  (folder / "config.json").write_text(json.dumps(values | {"vocab_size": 100}))
  with pytest.raises(ValueError, match=r"tokens, config.json says 100"):
    _build(folder)
  (folder / "tokenizer.json").rename(folder / "tokenizer.model")
  with pytest.raises(FileNotFoundError, match=r"convert it once"):
    _build(folder)
