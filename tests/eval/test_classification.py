"""Whole evaluations on small films, and what they leave in the work folder."""

import json
import re

import numpy as np
import pytest
import small_evaluation

from scan42_jax.eval.scored import read_predictions


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return small_evaluation.prepare(tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("protocol", ["linear", "logistic", "knn", "few_shot"])
def test_frozen_protocols(protocol, prepared, tmp_path):
  figures = small_evaluation.run(tmp_path, prepared, protocol=protocol)
  assert figures.films == 12
  assert 0 <= figures.labels[0].auroc.value <= 1
  metrics = json.loads((tmp_path / "metrics.json").read_text())
  made = metrics["provenance"]
  assert made["config"]["protocol"] == protocol
  assert re.fullmatch("[0-9a-f]{64}", made["encoder_sha256"])
  assert re.fullmatch("[0-9a-f]{64}", made["data_manifest_sha256"]["folder"])
  assert metrics["choice"]["chosen"]
  found = read_predictions(tmp_path / "predictions.csv")
  assert len(found.films) == 12
  assert ((found.probabilities >= 0) & (found.probabilities <= 1)).all()
  assert (tmp_path / "model.npz").exists() == (protocol != "knn")
  page = (tmp_path / "report.html").read_text()
  assert "src=" not in page.replace('src="data:', "")
  assert {f.stem for f in (tmp_path / "figures").iterdir()} >= {"roc", "auroc"}


def test_finetuning_and_the_published_one(prepared, tmp_path):
  encoder, _ = prepared
  right = small_evaluation.run(
    tmp_path / "right",
    prepared,
    protocol="finetune",
    finetune__encoder_learning_rate=0.01,
  )
  published = small_evaluation.run(
    tmp_path / "published",
    prepared,
    protocol="finetune",
    features__token="first_patch",
    features__drop_registers=True,
    finetune__train_encoder=False,
    finetune__constant_rate=True,
  )
  assert right.films == published.films == 12
  first, second = (
    np.load(tmp_path / name / "model.npz") for name in ("right", "published")
  )
  from scan42_jax.encoder import load_encoder

  start = load_encoder(encoder).params
  kernel = np.asarray(start["block_01"]["attn"]["qkv"]["kernel"])
  name = "encoder/block_01/attn/qkv/kernel"
  np.testing.assert_array_equal(second[name], kernel)
  assert np.abs(first[name] - kernel).max() > 1e-4
  assert "encoder/registers" in first.files
  assert "encoder/registers" not in second.files
  lines = (
    (tmp_path / "right" / "finetune" / "metrics.jsonl").read_text().splitlines()
  )
  assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]


def test_tokens_are_read_once(prepared, tmp_path, monkeypatch):
  small_evaluation.run(tmp_path, prepared, protocol="logistic")
  tables = sorted((tmp_path / "tokens").iterdir())
  assert len(tables) == 3

  def forbidden(*_):
    raise AssertionError("read again")

  monkeypatch.setattr("scan42_jax.eval.token_cache.TokenReader.read", forbidden)
  small_evaluation.run(tmp_path, prepared, protocol="knn")
  assert sorted((tmp_path / "tokens").iterdir()) == tables


def test_a_random_encoder_is_said_to_be_one(prepared, tmp_path):
  encoder, _ = prepared
  small_evaluation.run(
    tmp_path, prepared, source=f"random:{encoder}", protocol="logistic"
  )
  row = (tmp_path / "results.md").read_text()
  assert "random weights in the shape of" in row
  notes = json.loads((tmp_path / "metrics.json").read_text())["notes"]
  assert any("has seen no film" in note for note in notes)


def test_patient_maximum_stands_beside_the_images(prepared, tmp_path):
  small_evaluation.run(
    tmp_path, prepared, protocol="logistic", report__patient_maximum=True
  )
  figures = json.loads((tmp_path / "metrics.json").read_text())["figures"]
  assert [f["unit"][:7] for f in figures] == ["image", "patient"]


def test_what_cannot_be_is_said_in_one_line(prepared, tmp_path):
  for fields, message in [
    ({"data__labels": ("Nodul",)}, "names 'Nodul', which folder does not have"),
    ({"data__dataset": "nothing"}, "no dataset 'nothing'"),
    ({"data__test_split": "train"}, "names one split twice"),
    ({"finetune__batch_size": 3, "protocol": "finetune"}, "does not divide"),
  ]:
    with pytest.raises((ValueError, OSError), match=message) as error:
      small_evaluation.run(tmp_path, prepared, **fields)
    assert "\n" not in str(error.value)
