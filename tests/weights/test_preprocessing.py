"""preprocessor_config.json: what is read, written and refused."""

import dataclasses
import json

import pytest

from scan42_jax.weights.preprocessing import (
  FILE,
  Preprocessing,
  from_huggingface,
  read_preprocessing,
)

RELEASED = {
  "crop_size": {"height": 224, "width": 224},
  "do_center_crop": True,
  "do_convert_rgb": True,
  "do_normalize": True,
  "do_rescale": True,
  "do_resize": True,
  "image_mean": [0.485, 0.456, 0.406],
  "image_processor_type": "BitImageProcessor",
  "image_std": [0.229, 0.224, 0.225],
  "resample": 3,
  "rescale_factor": 0.00392156862745098,
  "size": {"shortest_edge": 256},
}


def _read(**changes):
  values = {k: v for k, v in (RELEASED | changes).items() if v is not ...}
  return from_huggingface(values)


def test_release_of_dinov2():
  assert _read() == Preprocessing(256, 224)


@pytest.mark.parametrize(
  "changes, expected",
  [
    ({"size": 256, "crop_size": 224}, {}),
    ({"do_center_crop": False}, {"crop_px": None}),
    (
      {"size": {"height": 256, "width": 256}, "do_center_crop": False},
      {"squash": True, "crop_px": None},
    ),
    ({"do_normalize": False}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}),
    ({"image_processor_type": "CustomBitImageProcessor"}, {"equalize": True}),
    ({"scan42": {"equalize": True}}, {"equalize": True}),
    (
      {
        "image_processor_type": "CustomBitImageProcessor",
        "scan42": {"equalize": False},
      },
      {"equalize": False},
    ),
    (
      {
        "image_processor_type": ...,
        "feature_extractor_type": "BitImageProcessor",
      },
      {},
    ),
    ({"do_resize": ..., "resample": ..., "rescale_factor": ...}, {}),
  ],
)
def test_variants(changes, expected):
  assert _read(**changes) == dataclasses.replace(
    Preprocessing(256, 224), **expected
  )


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"image_processor_type": "ViTImageProcessor"}, "'ViTImageProcessor' is"),
    ({"do_resize": False}, "do_resize is False; only True"),
    ({"resample": 2}, "resample is 2; only 3"),
    ({"do_rescale": False}, "do_rescale is False"),
    ({"rescale_factor": 1.0}, "rescale_factor is 1.0, not 1/255"),
    ({"rescale_factor": "x"}, "rescale_factor is 'x', not 1/255"),
    ({"size": {"longest_edge": 8}}, "size is {'longest_edge': 8}"),
    ({"size": {"height": 8, "width": 9}}, "size is {'height': 8"),
    ({"size": True}, "size is True"),
    ({"crop_size": {"height": 8, "width": 9}}, "crop_size is {'height': 8"),
    ({"crop_size": None}, "crop_size is None"),
    ({"crop_size": 257}, "crop_px=257 must be in 1..resize_px=256"),
    ({"image_mean": [0.5]}, "image_mean is [0.5], not three numbers"),
    ({"image_std": [0.5, 0.0, 0.5]}, "cannot standardise"),
    ({"image_mean": [0.5, float("nan"), 0.5]}, "cannot standardise"),
    ({"do_center_crop": 1}, "do_center_crop is 1, neither true nor false"),
    ({"scan42": {"equalize": "yes"}}, "equalize is 'yes'"),
    ({"scan42": []}, "scan42 is not an object"),
  ],
)
def test_what_is_not_done_is_refused(tmp_path, changes, message):
  (tmp_path / FILE).write_text(json.dumps(RELEASED | changes))
  with pytest.raises(ValueError) as caught:
    read_preprocessing(tmp_path)
  line = str(caught.value)
  assert line.startswith(f"{tmp_path / FILE}: ") and "\n" not in line
  assert message in line


def test_no_file():
  assert read_preprocessing("absent") is None


@pytest.mark.parametrize(
  "preprocessing",
  [
    Preprocessing(518, 518),
    Preprocessing(518, 504, mean=(0.5307,) * 3, std=(0.2583,) * 3),
    Preprocessing(224, squash=True, equalize=True),
    Preprocessing(56, None),
    Preprocessing(256, 224, squash=True),
  ],
)
def test_there_and_back(tmp_path, preprocessing):
  (tmp_path / FILE).write_text(json.dumps(preprocessing.to_huggingface()))
  assert read_preprocessing(tmp_path) == preprocessing


def test_one_line_says_every_step():
  line = str(Preprocessing(256, 224, equalize=True, std=(0.5,) * 3))
  assert line == (
    "histogram equalised, shorter side to 256 px, centre 224 x 224 px,"
    " mean 0.485 0.456 0.406, std 0.5"
  )
  assert "whole film to 56 x 56 px" in str(Preprocessing(56, squash=True))
