"""Wrong settings end in one line; the published faults are a preset."""

import pytest

from scan42_jax.eval.segmenting.mask_config import (
  apply_segmentation_preset,
  default_segmentation,
)
from scan42_jax.eval.segmenting.mask_settings import (
  SegmentationSettings,
  build_segmentation,
  mirrored_classes,
)


def test_defaults_build():
  assert build_segmentation(default_segmentation()) == SegmentationSettings()


@pytest.mark.parametrize(
  "group, changes, named",
  [
    ("data", {"structures": ("lungs",)}, "data.structures"),
    ("data", {"structures": ()}, "data.structures"),
    ("data", {"structures": ("heart", "heart")}, "twice"),
    ("data", {"structures": ("left_lung",)}, "flip_probability must be 0"),
    ("data", {"test_split": "train"}, "one split twice"),
    ("data", {"view": "padded"}, "data.view"),
    ("train", {"steps": 0}, "train.steps"),
    ("head", {"layers": 0}, "head.layers"),
    ("views", {"zoom": (1.2, 0.8)}, "views.zoom"),
    ("views", {"flip_probability": 2.0}, "views.flip_probability"),
    ("report", {"draws": 10}, "report.draws"),
  ],
)
def test_what_is_wrong_is_named_in_one_line(group, changes, named):
  config = default_segmentation()
  config[group].update(changes)
  with pytest.raises(ValueError, match=named) as error:
    build_segmentation(config)
  assert "\n" not in str(error.value)


def test_an_unknown_field_is_named():
  with pytest.raises(ValueError, match=r"config\.segmentation\.train\.lr"):
    build_segmentation({"train": {"lr": 1.0}})


def test_the_reference_preset_builds_and_names_its_faults():
  config = apply_segmentation_preset(
    default_segmentation(), "reference", training_films=6400
  )
  settings = build_segmentation(config)
  assert settings.data.view == "centre_crop"
  assert settings.report.score_at == "view"
  assert settings.views.translate == (0.1, 0.1)
  assert settings.train.steps == 500
  with pytest.raises(ValueError, match="preset"):
    apply_segmentation_preset(config, "paper", training_films=1)


def test_a_mirror_exchanges_sides_wherever_they_stand():
  assert mirrored_classes(("left_lung", "right_lung", "heart")) == (0, 2, 1, 3)
  assert mirrored_classes(("heart", "right_lung", "left_lung")) == (0, 1, 3, 2)
  assert mirrored_classes(("heart",)) == (0, 1)
