"""Training: fits pairs, follows the film, keeps the best step, resumes."""

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest
from tiny_encoder import write_encoder

from scan42_jax import paths
from scan42_jax.encoder import load_encoder
from scan42_jax.eval.reports import building, learning, training
from scan42_jax.eval.reports.decoding import DecodingSettings
from scan42_jax.eval.reports.generation import Generator, Stopped, write_all
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.settings import (
  ReportSettings,
  SmallDecoderSettings,
  StageSettings,
  TextSettings,
  TrainingSettings,
)
from scan42_jax.eval.reports.writer import longest_row, training_rows
from scan42_jax.sharding import make_mesh, replicated

TEXTS = (
  "The heart is enlarged. There is no pneumothorax.",
  "There is a left pleural effusion.",
  "The lungs are clear. No nodule is seen.",
  "A chest tube is on the right.",
)
PAIRS = [
  Pair(film=i, image_id=f"i{i}", patient_id=f"p{i}", text=text)
  for i, text in enumerate(TEXTS)
]
PATCHES = np.random.default_rng(0).normal(size=(4, 4, 6)).astype(np.float32)
SETTINGS = ReportSettings(
  text=TextSettings(max_report_tokens=24),
  small=SmallDecoderSettings(
    vocab_size=300, width=32, depth=1, num_heads=2, dropout=0.0
  ),
  training=TrainingSettings(
    first=StageSettings(steps=120, learning_rate=1e-2),
    batch_size=4,
    evaluate_every=40,
    log_every=40,
  ),
  decoding=DecodingSettings(max_tokens=24),
)


def _mesh(devices=1):
  return make_mesh((-1, 1, 1), jax.devices()[:devices])


def _course(folder, *, settings=SETTINGS, mesh=None, say=lambda line: None):
  mesh = mesh or _mesh()
  writer, params = building.build(
    settings,
    PAIRS,
    mesh=mesh,
    sight=building.Sight((2, 2), 6),
    workdir=folder,
    folder=None,
  )
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
    config={"seed": 0},
    say=say,
  )
  return course, params


def _generator(writer, params, *, mesh=None):
  return Generator(
    writer,
    params,
    settings=SETTINGS.decoding,
    mesh=mesh or _mesh(),
    batch_size=4,
    prompt_length=2,
    seed=0,
  )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  course, params = _course(tmp_path_factory.mktemp("run"))
  params, facts = training.train(course, params)
  return course.writer, params, facts


def test_a_handful_of_pairs_is_fitted_and_swaps_with_the_films(trained):
  writer, params, _ = trained
  generator = _generator(writer, params)
  assert generator.write(PATCHES, PAIRS) == list(TEXTS)
  order = [2, 0, 3, 1]
  swapped = generator.write(PATCHES[order], PAIRS)
  assert swapped == [TEXTS[i] for i in order]


def test_sharded_generation_equals_that_of_one_device(trained):
  writer, params, _ = trained
  mesh = _mesh(4)
  params = jax.device_put(params, replicated(mesh))
  whole = _generator(writer, params, mesh=mesh).write(PATCHES, PAIRS)
  assert whole == list(TEXTS)


def test_the_best_step_is_the_one_with_the_lowest_validation_loss(trained):
  _, _, facts = trained
  stage = facts["stage_1"]
  assert stage["steps"] == 120
  assert stage["best_step"] in (40, 80, 120)
  assert stage["validation_loss"] < 0.1


def test_a_stopped_training_resumes_to_the_same_parameters(tmp_path, trained):
  def say(line):
    if line.startswith("stage_1 step 40 validation") and not stopped:
      stopped.append(True)
      os.kill(os.getpid(), signal.SIGTERM)

  stopped = []
  course, params = _course(tmp_path, say=say)
  with pytest.raises(training.Interrupted):
    training.train(course, params)
  resumed, _ = training.train(course, params)
  _, whole, _ = trained
  jax.tree.map(
    lambda a, b: np.testing.assert_array_equal(np.array(a), np.array(b)),
    resumed,
    whole,
  )


def test_a_stage_traces_its_step_once(tmp_path, monkeypatch):
  traced = []

  def counting(*arguments, **keywords):
    step = learning.make_step(*arguments, **keywords)

    def counted(*given):
      traced.append(True)
      return step(*given)

    return counted

  monkeypatch.setattr(training, "make_step", counting)
  settings = dataclasses.replace(
    SETTINGS,
    training=dataclasses.replace(
      SETTINGS.training, first=StageSettings(steps=6), evaluate_every=2
    ),
  )
  course, params = _course(tmp_path, settings=settings)
  training.train(course, params)
  assert len(traced) == 1


def test_checkpoints_of_other_settings_are_refused(tmp_path):
  short = TrainingSettings(
    first=StageSettings(steps=2), batch_size=4, evaluate_every=2
  )
  settings = ReportSettings(
    text=SETTINGS.text, small=SETTINGS.small, training=short
  )
  course, params = _course(tmp_path, settings=settings)
  training.train(course, params)
  other = training.Course(**{**vars(course), "config": {"seed": 1}})
  with pytest.raises(ValueError, match=r"trained with seed=0, now it is 1"):
    training.train(other, params)


def test_rows_end_where_reports_end_and_weigh_only_reports(tmp_path):
  course, _ = _course(tmp_path)
  writer = course.writer
  rows = training_rows(writer, PAIRS, length=30)
  for row, pair in enumerate(PAIRS):
    counted = np.flatnonzero(rows.weights[row]) + 1
    text = rows.tokens[row][counted]
    assert writer.tokenizer.decode(text[:-1]) == pair.text
    assert text[-1] == writer.ending.ends[0]
    assert not rows.valid[row, counted[-1] + 1 :].any()


def test_reports_over_the_limit_are_cut_and_counted(tmp_path):
  long = dataclasses.replace(PAIRS[0], text=PAIRS[0].text * 9)
  course, _ = _course(tmp_path)
  writer = course.writer
  assert longest_row(writer, PAIRS)[1] == 0
  length, cut = longest_row(writer, [*PAIRS, long])
  assert cut == 1 and length == 32
  rows = training_rows(writer, [long], length=length)
  text = rows.tokens[0][np.flatnonzero(rows.weights[0]) + 1]
  # Cut at the limit, without an end that the report does not have there.
  assert len(text) == SETTINGS.text.max_report_tokens
  assert writer.ending.ends[0] not in text
  assert long.text.startswith(writer.tokenizer.decode(text))


def test_parameters_outside_a_stage_stand_still(tmp_path):
  leaves = {
    "projector/fc1/kernel": np.ones((2, 2), np.float32),
    "language_model/block_00/attn/query/lora_a": np.ones((2, 2), np.float32),
    "language_model/block_00/attn/query/kernel": np.ones((2, 2), np.float32),
  }
  stages = (
    StageSettings(train="projector", steps=5, learning_rate=0.1),
    StageSettings(train="projector_and_lora", steps=5, learning_rate=0.1),
  )
  moving, frozen = learning.part_leaves(paths.unflatten(leaves), stages)
  assert list(frozen) == ["language_model/block_00/attn/query/kernel"]
  optimizer = learning.make_optimizer(SETTINGS.training, stages[0])
  state = optimizer.init(moving)
  gradients = jax.tree.map(np.ones_like, moving)
  for _ in range(2):
    updates, state = optimizer.update(gradients, state, moving)
  assert np.all(updates["projector/fc1/kernel"] != 0)
  assert np.all(updates["language_model/block_00/attn/query/lora_a"] == 0)


def test_an_encoder_moves_only_in_stages_that_give_it_a_rate():
  leaves = {
    "encoder/block_00/mlp/fc1/kernel": np.ones((2, 2), np.float32),
    "block_00/mlp/fc1/kernel": np.ones((2, 2), np.float32),
  }
  still = StageSettings(steps=5, learning_rate=0.1)
  learns = dataclasses.replace(still, encoder_learning_rate=0.01)
  moving, frozen = learning.part_leaves(paths.unflatten(leaves), [still])
  assert list(frozen) == ["encoder/block_00/mlp/fc1/kernel"]
  moving, frozen = learning.part_leaves(
    paths.unflatten(leaves), [still, learns]
  )
  assert not frozen
  for stage, rate in ((still, 0), (learns, 0.01)):
    optimizer = learning.make_optimizer(SETTINGS.training, stage)
    state = optimizer.init(moving)
    gradients = jax.tree.map(np.ones_like, moving)
    for _ in range(2):
      updates, state = optimizer.update(gradients, state, moving)
    decoder = np.abs(updates["block_00/mlp/fc1/kernel"]).max()
    encoder = np.abs(updates["encoder/block_00/mlp/fc1/kernel"]).max()
    assert encoder == pytest.approx(decoder * rate / 0.1, rel=1e-4)


def test_an_encoder_learns_with_its_decoder(tmp_path):
  encoder = load_encoder(write_encoder(tmp_path / "encoder"))
  low = np.random.default_rng(1).integers(0, 256, (4, 6, 6), np.uint8)
  films = low.repeat(4, axis=1).repeat(4, axis=2)
  stage = dataclasses.replace(
    SETTINGS.training.first, encoder_learning_rate=1e-3
  )
  settings = dataclasses.replace(
    SETTINGS, training=dataclasses.replace(SETTINGS.training, first=stage)
  )
  mesh = _mesh(2)
  writer, start = building.build(
    settings,
    PAIRS,
    mesh=mesh,
    sight=building.Sight((6, 6), encoder.config.width),
    workdir=tmp_path,
    folder=None,
    encoder=encoder,
  )
  length, _ = longest_row(writer, PAIRS)
  material = training.Material(PAIRS, lambda rows: films[rows], length)
  seen = []
  course = training.Course(
    writer=writer,
    train=material,
    validation=material,
    settings=settings.training,
    seed=0,
    mesh=mesh,
    workdir=tmp_path,
    config={},
    say=lambda line: None,
    sample=lambda params: seen.append(sorted(params)) or "text",
  )
  params, _ = training.train(course, start)
  generator = _generator(writer, params, mesh=mesh)
  order = [2, 0, 3, 1]
  written = generator.write(films[order], PAIRS)
  assert written == [TEXTS[i] for i in order]
  before, after = (
    paths.flatten(tree["encoder"])
    for tree in ({"encoder": encoder.params}, params)
  )
  kernel = "block_00/attn/qkv/kernel"
  assert not np.array_equal(before[kernel], after[kernel])
  assert len(seen) == 3 and "encoder" in seen[0]
  # What others loaded is as it was.
  again = load_encoder(tmp_path / "encoder").params
  jax.tree.map(np.testing.assert_array_equal, encoder.params, again)


def test_a_stopped_generation_goes_on(tmp_path, trained):
  writer, params, _ = trained
  generator = _generator(writer, params)
  many = PAIRS * 3
  path = tmp_path / "texts.jsonl"

  def patches(rows):
    return np.stack([PATCHES[row % 4] for row in rows])

  def write(say=lambda line: None, identity="a"):
    return write_all(
      generator, many, patches, path=path, identity=identity, say=say
    )

  def stop(line):
    os.kill(os.getpid(), signal.SIGTERM)

  with pytest.raises(Stopped):
    write(stop)
  assert len(path.read_text().splitlines()) == 1 + 4
  with path.open("a") as file:
    file.write('{"image_id": "i0", "te')  # As a killed process leaves it.
  lines = []
  assert write(lines.append) == list(TEXTS) * 3
  assert lines == ["texts: 8 of 12 texts", "texts: 12 of 12 texts"]
  assert write(lines.append) == list(TEXTS) * 3
  assert len(lines) == 2
  # Texts of other weights are not taken for these.
  write(lines.append, identity="b")
  assert len(lines) == 5
