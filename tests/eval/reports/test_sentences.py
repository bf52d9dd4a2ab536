"""Sentences that many reports share, and learning them from the film."""

import dataclasses

import jax
import numpy as np
from tiny_encoder import write_encoder

from scan42_jax.encoder import load_encoder
from scan42_jax.eval.reports import building, learning, sentences, training
from scan42_jax.eval.reports.pairs import Pair
from scan42_jax.eval.reports.seeing import ENCODER, SENTENCES
from scan42_jax.eval.reports.settings import (
  ReportSettings,
  SmallDecoderSettings,
  StageSettings,
  TrainingSettings,
)
from scan42_jax.eval.reports.writer import longest_row
from scan42_jax.sharding import make_mesh

TEXTS = ["No effusion. A nodule.", "No effusion.", "no effusion. Tube."]
SETTINGS = ReportSettings(
  small=SmallDecoderSettings(
    vocab_size=300, width=16, depth=1, num_heads=2, dropout=0.0
  ),
  training=TrainingSettings(
    first=StageSettings(
      steps=40, learning_rate=1e-2, encoder_learning_rate=1e-3
    ),
    optimizer="muon",
    sentence_weight=1.0,
    batch_size=10,
  ),
)


def test_frequent_sentences_are_those_of_most_reports():
  texts = TEXTS * 5 + ["A nodule. A nodule. Rare."] * 2
  found = sentences.frequent_sentences(texts, most=9)
  assert found == ("no effusion.", "a nodule.", "tube.")
  assert sentences.frequent_sentences(texts, most=1) == ("no effusion.",)
  np.testing.assert_array_equal(
    sentences.held(TEXTS, found), [[1, 1, 0], [1, 0, 0], [1, 0, 1]]
  )


def test_an_encoder_learns_which_sentences_a_report_holds(tmp_path):
  encoder = load_encoder(write_encoder(tmp_path / "e"))
  films = np.zeros((10, 24, 24), np.uint8)
  films[5:, 4:12, 4:12] = 250
  pairs = [
    Pair(
      film=i,
      image_id=f"i{i}",
      patient_id="",
      text="A nodule." if i > 4 else "Clear.",
      impression="A nodule." if i > 4 else "Clear.",
    )
    for i in range(10)
  ]
  mesh = make_mesh((1, 1, 1), jax.devices()[:1])
  writer, params = building.build(
    SETTINGS,
    pairs,
    mesh=mesh,
    sight=building.Sight((6, 6), encoder.config.width),
    workdir=tmp_path,
    folder=None,
    encoder=encoder,
  )
  assert writer.sentences == ("clear.", "a nodule.")
  assert {ENCODER, SENTENCES} < set(params)
  length, _ = longest_row(writer, pairs)
  material = training.Material(pairs, lambda rows: films[rows], length)
  batch = training.make_batch(writer, material, list(range(10)))
  stage = SETTINGS.training.first
  moving, frozen = learning.part_leaves(params, [stage])
  assert not frozen
  optimizer = learning.make_optimizer(SETTINGS.training, stage)
  state = training._start(optimizer, moving, mesh)
  step = jax.jit(
    learning.make_step(writer.net, optimizer, stage=stage, sentence_weight=1.0)
  )
  losses = []
  for number in range(stage.steps):
    state, loss = step(state, frozen, batch, jax.random.key(number))
    losses.append(float(loss))
  assert losses[-1] < losses[0] / 4
  _, told = writer.net.apply(
    {"params": training.paths.unflatten(state.moving)},
    films,
    batch["tokens"],
    batch["valid"],
    method="learn",
  )
  np.testing.assert_array_equal(told > 0, batch["sentences"] > 0)


def test_sentences_move_with_the_encoder_alone():
  still = StageSettings(steps=1)
  learns = dataclasses.replace(still, encoder_learning_rate=1e-3)
  params = {SENTENCES: {"queries": np.ones((2, 2))}}
  assert not learning.part_leaves(params, [still])[0]
  assert learning.part_leaves(params, [learns])[0]


def test_muon_moves_projections_by_orthogonal_updates():
  leaves = {
    "block/mlp/fc1/kernel": np.ones((4, 8), np.float32),
    "embedding/embedding": np.ones((4, 8), np.float32),
    "norm/scale": np.ones(4, np.float32),
    "encoder/block/kernel": np.ones((4, 4), np.float32),
  }
  settings = dataclasses.replace(SETTINGS.training, weight_decay=0.0)
  stage = StageSettings(steps=9, learning_rate=0.1)
  optimizer = learning.make_optimizer(settings, stage)
  rng = np.random.default_rng(0)
  gradients = {
    k: rng.normal(size=v.shape).astype(np.float32) for k, v in leaves.items()
  }
  state = optimizer.init(leaves)
  for _ in range(2):
    updates, state = optimizer.update(gradients, state, leaves)
  values = np.linalg.svd(updates["block/mlp/fc1/kernel"], compute_uv=False)
  assert values.max() / values.min() < 2
  assert np.linalg.cond(gradients["block/mlp/fc1/kernel"]) > 2
  # Adam's updates by equal gradients are alike but for their sign.
  moved = updates["embedding/embedding"]
  signs = -np.sign(gradients["embedding/embedding"])
  np.testing.assert_allclose(
    moved * signs, moved[0, 0] * signs[0, 0], rtol=1e-3
  )
  assert 0.05 < moved[0, 0] * signs[0, 0] < 0.2
  assert not updates["encoder/block/kernel"].any()
