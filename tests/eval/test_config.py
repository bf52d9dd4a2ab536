"""Every config in the folder builds, as it is and with its faults."""

import importlib.util
import pathlib

import pytest

from scan42_jax.eval.settings import build_eval

FOLDER = pathlib.Path(__file__).parents[2] / "configs" / "eval"
CLASSIFICATION = ["chexpert", "folder", "nih_cxr8", "phantom", "rsna", "vindr"]
RELEASES = ["chexpert", "nih_cxr8", "rsna", "vindr"]


def _module(name):
  spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _build(config):
  """Builds what the classification binary does, which leaves out the other."""
  fields = dict(config)
  fields.pop("segmentation", None)
  return build_eval(fields)


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_configs_build_and_say_their_command(name):
  module = _module(name)
  _build(module.get_config())
  assert f"--config=configs/eval/{name}.py" in module.__doc__


@pytest.mark.parametrize("name", RELEASES)
def test_reference_keeps_the_published_faults(name):
  right = build_eval(_module(name).get_config())
  wrong = build_eval(_module(name).get_config("reference"))
  assert right.features.token == "cls"
  assert wrong.features.token == "first_patch"
  assert right.finetune.train_encoder
  assert not wrong.finetune.train_encoder
  assert right.data.policy == "default"
  assert wrong.data.policy == "reference"
  assert wrong.features.drop_registers == (name == "chexpert")
  assert wrong.finetune.steps == 5 * wrong.finetune.evaluate_every
  with pytest.raises(ValueError, match="preset 'other'"):
    _module(name).get_config("other")


def test_labels_of_the_paper_are_labels_of_the_release():
  from scan42_jax.datasets import chexpert, nih_cxr8, rsna_pneumonia, vindr_cxr

  for name, dataset in [
    ("chexpert", chexpert),
    ("nih_cxr8", nih_cxr8),
    ("rsna", rsna_pneumonia),
    ("vindr", vindr_cxr),
  ]:
    settings = build_eval(_module(name).get_config())
    wanted = {*settings.data.labels, *settings.report.paper_labels}
    assert wanted <= set(dataset.LABEL_NAMES)


@pytest.mark.parametrize(
  "field, value, message",
  [
    ("data.test_split", "train", "names one split twice"),
    ("report.specificity", 1.0, "must be between 0 and 1"),
    ("linear.layers", (1, 5), "exceeds config.features.layers=4"),
    ("features.token", "first_patch", "config.protocol='finetune'"),
    ("finetune.patience", 0, "is not positive"),
    ("few_shot.shots", (), "config.few_shot.shots is empty"),
    ("protocol", "guess", "is not one of"),
  ],
)
def test_settings_that_cannot_be_are_named(field, value, message):
  config = _module("phantom").get_config()
  config.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=message):
    _build(config)
