"""Names and licences of data and weights: nothing guessed, nothing private."""

import pytest

from scan42_jax.datasets import CLASSES
from scan42_jax.release.terms import license_of, public_name, terms_of_data


@pytest.mark.parametrize(
  "source, name",
  [
    ("facebook/dinov2-base", "facebook/dinov2-base"),
    (
      "/home/ann/w/dinov2_vits14_reg4_pretrain.pth",
      "dinov2_vits14_reg4_pretrain.pth",
    ),
    (
      "/home/ann/.cache/huggingface/hub/models--microsoft--rad-dino/snapshots/0",
      "microsoft/rad-dino",
    ),
    ("ann/run7/", "run7"),
    ("../run7", "run7"),
  ],
)
def test_names_tell_nothing_of_the_machine(source, name):
  assert public_name(source) == name


def test_name_of_the_folder_one_is_in(tmp_path, monkeypatch):
  (tmp_path / "run7").mkdir()
  monkeypatch.chdir(tmp_path / "run7")
  assert public_name(".") == "run7"


def test_licence_beside_the_weights_counts(tmp_path):
  folder = tmp_path / "CXformer-small"
  folder.mkdir()
  assert license_of(str(folder)) == "cc-by-nc-4.0"
  card = folder / "README.md"
  card.write_text("---\ntags:\n- x\nlicense: mit\n---\nlicense: other\n")
  assert license_of(str(folder)) == "mit"
  weights = folder / "weights.pth"
  weights.touch()
  assert license_of(str(weights)) == "mit"
  card.write_text("---\nlicense: unknown\n---\n")
  assert license_of(str(folder)) == "cc-by-nc-4.0"


@pytest.mark.parametrize(
  "source, licence",
  [
    ("facebook/dinov2-with-registers-base", "apache-2.0"),
    ("weights/dinov2_vitb14_reg4_pretrain.pth", "apache-2.0"),
    ("m42-health/CXformer-base", "cc-by-nc-4.0"),
    ("my_dinov2_model", None),
    ("teacher_checkpoint.pth", None),
  ],
)
def test_licences_by_published_name(source, licence):
  assert license_of(source) == licence


def test_terms_of_data():
  assert "Stanford" in terms_of_data("chexpert")
  assert terms_of_data("nih_cxr8_published") == terms_of_data("nih_cxr8")
  assert terms_of_data("our_own_films") is None


def test_terms_of_every_release_are_known():
  releases = set(CLASSES) - {"folder"}
  assert {name for name in releases if terms_of_data(name) is None} == set()
